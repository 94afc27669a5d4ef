"""Writes the rows of townships in deploy/config/territories.csv, and has what the scripts beside it share.

Rows of nation, provinces, cities and counties are kept as they are: `succession.py` makes them, with names corrected by hand.
Running it twice gives the same bytes:

    npm pack china-division@2.7.0 && tar xzf china-division-2.7.0.tgz
    pip install pypinyin==0.55.0
    python3 deploy/tools/territories.py package/dist deploy/config/territories.csv

Townships are those of `dist/streets.csv`.
"""

import csv
import sys

from pypinyin import Style, lazy_pinyin, load_phrases_dict

COLUMNS = ["code", "name_zh", "name_en", "pinyin", "valid_from", "valid_to", "successor", "parts", "formerly"]
# Rows may leave these out.
OPTIONAL = 2
# Generic words at the end of a name; the longest match wins. In pinyin it is a separate word.
GENERIC = (
    "民族乡 民族镇 民族苏木 街道办事处 地区办事处 办事处 街道 苏木 乡 镇 农场 林场 牧场 渔场 茶场 种畜场 原种场 良种场 "
    "经济开发区 经济技术开发区 开发区 高新区 工业园区 工业园 产业园 园区 管理区 管委会 管理委员会 新区 水库 监狱 林业局 地区 "
    "自治县 自治旗 自治州 特区 林区 矿区 县 市 区 旗 盟 州 省"
).split()

def split(name):
    for word in sorted(GENERIC, key=len, reverse=True):
        if name.endswith(word) and len(name) > len(word):
            return name[: -len(word)], word
    return name, ""


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


def english(name):
    own, generic = split(name)
    if name in ("市辖区", "县"):
        return {"市辖区": "City districts", "县": "Counties"}[name]
    return pinyin(own) if len(own) > 1 else pinyin(own) + pinyin(generic).lower()


def write(path, comments, rows):
    """Writes the file, in the order of codes; trailing empty columns that may be left out are."""
    order = sorted(rows, key=lambda code: code.ljust(9, "0") if code != "CN" else "")
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in comments))
        file.write(",".join(COLUMNS) + "\n")
        for code in order:
            fields = [rows[code].get(column) or "" for column in COLUMNS]
            for _ in range(OPTIONAL):
                if not fields[-1]:
                    fields.pop()
            file.write(",".join(fields) + "\n")


def main(dist, path):
    lines = open(path, encoding="utf-8").read().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    out = {row["code"]: row for row in rows if len(row["code"]) <= 6}
    teach(row for row in out.values() if not row["valid_to"])
    for street in csv.DictReader(open(f"{dist}/streets.csv", encoding="utf-8")):
        if street["code"].endswith("000"):
            continue  # The source lists a county without townships as its own township.
        name = street["name"].replace(",", "，")
        out[street["code"]] = {"code": street["code"], "name_zh": name, "pinyin": reading(name)}
    write(path, comments, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
