"""Writes the rows of nation, provinces, cities and counties in deploy/config/territories.csv: which codes there are, from when to
when, and where each one that ended lies now; and deploy/tools/published-codes.txt, every code of the lists, for a test.

Reads three public repositories (any clone that has the commit) and the present file; running it twice gives the same bytes:

    git clone https://github.com/cn/GB2260 https://github.com/mumuy/data_location https://github.com/yescallop/areacodes
    pip install pypinyin==0.55.0
    python3 deploy/tools/succession.py GB2260 data_location areacodes deploy/config/territories.csv deploy/tools/published-codes.txt

What it takes from them (codes, names, dates and successions, which are facts):
* GB2260: the lists of the National Bureau of Statistics, of the Ministry of Civil Affairs and of the standard, 2002-12 to 2019-04.
* areacodes (CC0): the Ministry's list of 31 December of each year 2002 to 2024, and for each code that ended, where its area went,
  after the Ministry's and the State Council's announcements.
* data_location (MIT): its list as of each day on which it changed since 2019-05, and where it says that an ended code lies.

How a code that ended is continued, the first that applies:
1. MANUAL, with the reason.
2. A group of a prefecture's or city's units (`市辖区`, `县`, `市`): where the unit above it lies.
3. Documented in areacodes, for a unit of that name; followed until codes in force are reached. One code: the successor. Several:
   the one that keeps the name is the successor and the others are `parts`; without one all are `parts`, and the code is read as
   the smallest territory that holds them.
4. The same name and level as exactly one other code of the province that ended and is documented (two offices wrote one unit
   under two codes in one year).
5. The same name and level as exactly one code in force in the province, which is none of the codes of 3.
6. Documented in data_location.
7. No successor is known: it belongs to the city, or else the province, that its digits name.
A code in force whose lists once gave it to another unit has `formerly`: the code that this unit has now.
valid_to is the day of the last list that has the code, valid_from that of the first, unless that is one of 2002-12-31.
"""

import calendar
import collections
import csv
import io
import json
import subprocess
import sys

from territories import COLUMNS, english, pinyin, reading, write

COMMITS = {
    "GB2260": "1173e8b57b1ac265f3c79099bfab8f1aea4811a1",
    "data_location": "a40c560aba1bff85fbf3e371cdf6a923f923328f",
    "areacodes": "eed219a0678d36bacaa717f62443b10e869f0291",
}
FIRST = "2002-12-31"
# Taiwan, Hong Kong and Macao are referred to by their ISO 3166 codes.
OUTSIDE = ("71", "81", "82", "83")
# Units of today that the statistical codes of 2023, the file's other source, do not have.
NEW = {"460302", "460303", "500157", "653132", "653228", "653229", "659013"}
# In the statistical codes of 2023, and replaced since, or earlier for other lists.
REPLACED = {"460321", "460322", "500105", "500112"}
# code: (successor, parts, reason)
MANUAL = {
    "133100": ("", "130629 130632 130638", "Xiong'an, kept as one city in data_location of 2023-11 to 2024-12, of these three counties"),
    "371200": ("370100", "", "Laiwu was merged into Jinan, its two districts as districts of it"),
    "341400": ("", "340100 340200 340500", "Chaohu was divided among three cities; data_location names them"),
    "460321": ("460302", "", "the district set up for it in 2020"),
    "460322": ("460303", "", "the district set up for it in 2020"),
    "460324": ("460300", "", "in lists of data_location only, without a unit of its own"),
    "469031": ("460302", "", "another office's code for 460321"),
    "469032": ("460303", "", "another office's code for 460322"),
    "469037": ("460302", "", "an earlier code for 460321"),
    "469038": ("460303", "", "an earlier code for 460322"),
    "469033": ("460323", "", "another office's code for 460323"),
}
GROUPS = ("市辖区", "县", "市", "省直辖县级行政区划", "省直辖行政单位")
COUNTY = ("自治县", "自治旗", "特区", "县", "市", "区", "旗")


def git(repository, *arguments):
    done = subprocess.run(["git", "-C", repository, *arguments], capture_output=True, check=True)
    return done.stdout.decode("utf-8-sig")


def last_day(revision):
    year, month = int(revision[:4]), int(revision[4:])
    return f"{year}-{month:02}-{calendar.monthrange(year, month)[1]}"


def lists(gb2260, data_location, areacodes):
    """Yields each list as (day, source, {code: name})."""
    at = COMMITS["GB2260"]
    for source, revisions in json.loads(git(gb2260, "show", f"{at}:revisions.json")).items():
        for revision in (revision for revision in revisions if revision >= "200212"):
            path = f"{revision}.tsv" if source == "gb" else f"{source}/{revision}.tsv"
            rows = (line.split("\t") for line in git(gb2260, "show", f"{at}:{path}").splitlines()[1:])
            yield last_day(revision), source, {row[2]: row[3].strip() for row in rows}
    for year in range(2002, 2025):
        rows = git(areacodes, "show", f"{COMMITS['areacodes']}:data/{year}.txt").splitlines()
        yield f"{year}-12-31", "areacodes", dict(row.split(None, 1) for row in rows if row.strip())
    seen = set()
    log = git(data_location, "log", "--first-parent", "--format=%H %ad", "--date=short", COMMITS["data_location"], "--", "list.json")
    for commit, day in (line.split() for line in log.splitlines()):
        # Of one day the last; before, the list was followed with delay.
        if day > "2019-05-01" and day not in seen:
            seen.add(day)
            yield day, "data_location", json.loads(git(data_location, "show", f"{commit}:list.json"))


def level(code):
    return "province" if code[2:] == "0000" else "city" if code[4:] == "00" else "county"


def stem(name):
    for word in COUNTY:
        if name.endswith(word) and len(name) > len(word):
            return name[: -len(word)]
    return name


class Codes:
    """Every code of the lists, and where it lies now."""

    def __init__(self, repositories, rows):
        gb2260, data_location, areacodes = repositories
        self.seen = collections.defaultdict(list)
        for day, source, names in sorted(lists(*repositories), key=lambda found: found[:2]):
            for code, name in names.items():
                if code[:2] not in OUTSIDE and code != "000000":
                    self.seen[code].append((day, source, name.strip()))
        current = json.loads(git(data_location, "show", f"{COMMITS['data_location']}:list.json"))
        self.names = {code: row["name_zh"] for code, row in rows.items() if not row["valid_to"] or code in NEW}
        self.names.update({code: current[code] for code in NEW})
        for code in REPLACED:
            self.names.pop(code, None)
        self.elsewhere = json.loads(git(data_location, "show", f"{COMMITS['data_location']}:diff.json"))
        self.records = collections.defaultdict(list)
        table = git(areacodes, "show", f"{COMMITS['areacodes']}:result.csv")
        for record in csv.DictReader(io.StringIO(table)):
            self.records[record["代码"]].append(
                (int(record["启用时间"]), record["变更/弃用时间"], record["名称"], record["新代码"])
            )
        for records in self.records.values():
            records.sort()
        self.by_name = collections.defaultdict(list)
        for code, name in self.names.items():
            if code != "CN":
                self.by_name[code[:2], level(code), name].append(code)
        self.ended = sorted(code for code in self.seen if code not in self.names)

    def last_name(self, code):
        """Of the offices' own lists where they have it: data_location sometimes renamed before it gave the new code."""
        of_offices = [name for _, source, name in self.seen[code] if source != "data_location"]
        return of_offices[-1] if of_offices else self.seen[code][-1][2]

    def documented(self, code, way=()):
        """The codes in force that the area of one lies in, where areacodes says so."""
        if code in way:
            return set()
        if code in MANUAL and MANUAL[code][0]:
            return {MANUAL[code][0]}
        if code in self.names:
            return {code}
        records = self.records.get(code)
        if not records or not records[-1][1]:
            # Ended after the last year of areacodes, or never in it.
            return set(self.elsewhere.get(code, [])) & set(self.names)
        # `code[year]` is a part that left the unit before its end.
        to = [new for new in records[-1][3].split(";") if new and not new.endswith("]")]
        return set().union(*(self.documented(new, (*way, code)) for new in to)) if to else set()

    def is_named_in_areacodes(self, code):
        records = self.records.get(code)
        return bool(records) and stem(records[-1][2]) == stem(self.last_name(code))

    def chosen(self, code, found):
        """Successor and parts, of several codes."""
        name = self.last_name(code)
        keeps = [new for new in found if self.names[new] == name and level(new) == level(code)]
        keeps = keeps or [new for new in found if len(stem(name)) > 1 and stem(self.names[new]) == stem(name)]
        successor = keeps[0] if len(keeps) == 1 else ""
        return successor, " ".join(sorted(found - {successor}))

    def above(self, code):
        city, province = f"{code[:4]}00", f"{code[:2]}0000"
        if level(code) == "county" and (city in self.names or city in self.seen):
            if city in self.names and self.names[city] not in GROUPS:
                return city, ""
            if city not in self.names and self.last_name(city) not in GROUPS:
                return self.place(city)
        return province, ""

    def place(self, code):
        """Successor and parts of a code that ended."""
        name = self.last_name(code)
        if code in MANUAL:
            return MANUAL[code][:2]
        if name in GROUPS:
            return self.above(code)
        if self.is_named_in_areacodes(code):
            found = self.documented(code)
            if len(found) == 1:
                return found.pop(), ""
            if found:
                return self.chosen(code, found)
        twins = [
            other
            for other in self.ended
            if other != code
            and (other[:2], level(other), self.last_name(other)) == (code[:2], level(code), name)
            and self.is_named_in_areacodes(other)
            and self.documented(other)
        ]
        if len(twins) == 1:
            return self.place(twins[0])
        same = self.by_name[code[:2], level(code), name]
        if len(same) == 1:
            return same[0], ""
        found = set(self.elsewhere.get(code, [])) & set(self.names)
        # For a prefecture it may name the district of its seat.
        found = {new for new in found if level(new) != "county" or level(code) == "county"}
        if len(found) == 1:
            return found.pop(), ""
        return self.chosen(code, found) if found else self.above(code)

    def formerly(self, code):
        """The code in force of another unit that the lists once had under this code."""
        own = {name for _, _, name, _ in self.records.get(code, [])} | {self.names.get(code) or self.last_name(code)}
        units = set()
        for name in {name for _, _, name in self.seen[code]} - own:
            if name in GROUPS or stem(name) in {stem(other) for other in own}:
                continue
            others = self.by_name[code[:2], level(code), name] or [
                self.place(other)[0]
                for other in self.ended
                if other != code
                and (other[:2], level(other)) == (code[:2], level(code))
                and any(name == seen for _, _, seen in self.seen[other])
            ]
            units |= {other for other in others if other}
        units.discard(code)
        units.discard(self.place(code)[0] if code in self.ended else "")
        return units.pop() if len(units) == 1 else ""


def main(gb2260, data_location, areacodes, path, published):
    lines = open(path, encoding="utf-8").read().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    rows = {row["code"]: row for row in csv.DictReader(line for line in lines if not line.startswith("#"))}
    codes = Codes((gb2260, data_location, areacodes), {code: row for code, row in rows.items() if len(code) <= 6})

    # Readings of units in force are corrected by hand; codes that ended take them over.
    by_hand = {(code[:2], row["name_zh"]): row for code, row in rows.items() if code in codes.names}
    for code in sorted(set(codes.names) | set(codes.ended)):
        name = codes.names.get(code) or codes.last_name(code)
        row = rows.get(code)
        like = by_hand.get((code[:2], name), {})
        if row is None or row["name_zh"] != name or (like and code in codes.ended):
            row = {
                "name_zh": name,
                "name_en": like.get("name_en") or english(name),
                "pinyin": like.get("pinyin") or reading(name),
            }
        row = {column: row.get(column) or "" for column in COLUMNS} | {"code": code}
        days = [day for day, _, seen in codes.seen.get(code, []) if stem(seen) == stem(name)] or [
            day for day, _, _ in codes.seen.get(code, [])
        ]
        row["valid_from"] = min(days) if days and min(days) > FIRST else ""
        row["valid_to"] = row["successor"] = row["parts"] = ""
        if code in codes.ended:
            row["valid_to"] = max(day for day, _, _ in codes.seen[code])
            row["successor"], row["parts"] = codes.place(code)
        row["formerly"] = codes.formerly(code) if code in codes.seen else ""
        rows[code] = row
    write(path, comments, rows)

    groups = collections.defaultdict(list)
    for code in sorted(codes.seen):
        groups[code[:4]].append(code[4:])
    with open(published, "w", encoding="utf-8") as file:
        file.write(
            "# Every code of the lists that deploy/tools/succession.py reads, except those of Taiwan, Hong Kong and Macao.\n"
            "# Made by it. One line per first four digits, then the last two of each code.\n"
        )
        file.write("".join(f"{prefix} {' '.join(rest)}\n" for prefix, rest in sorted(groups.items())))


if __name__ == "__main__":
    main(*sys.argv[1:])
