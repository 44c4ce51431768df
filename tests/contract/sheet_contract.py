"""What every implementation of the Sheet port does. A subclass gives a fixture `sheet`: an empty workbook in Europe/Berlin."""

from __future__ import annotations

import asyncio

import pytest

from shared.errors import BadInput
from shared.model.look import Chart, Column, Look
from shared.ports import Sheet

LOOKUP = '=IF($A{n}="","",IFERROR(VLOOKUP($A{n},Results!$A:$Z,{column},FALSE),""))'


class SheetContract:
    async def test_the_workbook_names_its_zone_and_tabs(self, sheet: Sheet) -> None:
        await sheet.add_tabs(["Results", "People's list"])
        found = await sheet.workbook()
        assert found.zone == "Europe/Berlin"
        assert {"Results", "People's list"} <= set(found.tabs)
        assert len(set(found.tabs.values())) == len(found.tabs)

    async def test_adding_tabs_again_or_at_once_makes_each_once(self, sheet: Sheet) -> None:
        titles = ["A", "B", "C", "A"]
        await asyncio.gather(*(sheet.add_tabs(titles) for _ in range(4)))
        await sheet.write({"B!A1": [["kept"]]})
        await sheet.add_tabs(titles)
        assert await sheet.read(["B"]) == [[["kept"]]]

    async def test_reading_gives_displayed_text_without_trailing_blanks(self, sheet: Sheet) -> None:
        await sheet.add_tabs(["Data"])
        await sheet.write({"Data!B2": [["x", "", 1.5, True, ""], ["", ""], [7, False], [""]]})
        assert await sheet.read(["Data!A1:F10", "Data!B2:B", "Data!D:E", "Data!Y1:Z9"]) == [
            [[], ["", "x", "", "1.5", "TRUE"], [], ["", "7", "FALSE"]],
            [["x"], [], ["7"]],
            [[], ["1.5", "TRUE"]],
            [],
        ]
        assert await sheet.read([]) == []

    async def test_writing_several_tabs_is_all_or_nothing(self, sheet: Sheet) -> None:
        await sheet.add_tabs(["One", "Two words"])
        await sheet.write({"One!A1": [["a"]], "'Two words'!A1:B1": [["b", 2]]})
        assert await sheet.read(["One", "'Two words'!A1:B1"]) == [[["a"]], [["b", "2"]]]
        with pytest.raises(BadInput, match="parse range"):
            await sheet.write({"One!A1": [["changed"]], "Missing!A1": [["x"]]})
        assert await sheet.read(["One"]) == [[["a"]]]
        await sheet.write({})

    async def test_text_stays_text(self, sheet: Sheet) -> None:
        await sheet.add_tabs(["Names"])
        names = ["=1+1", "+49 30", "-3", "@x", "\tx", "\rx", "007", "TRUE", "2026-01-02", "C-0001", "Zoë =1"]
        await sheet.write({"Names!A1": [[name] for name in names]})
        await sheet.append("Names", [["=HYPERLINK(1)"]])
        shown = [row[0] for row in (await sheet.read(["Names!A:A"]))[0]]
        assert shown == ["'" + name if name[0] in "=+-@\t\r" else name for name in [*names, "=HYPERLINK(1)"]]

    async def test_text_too_long_for_a_cell_is_cut(self, sheet: Sheet) -> None:
        await sheet.add_tabs(["Long"])
        await sheet.write({"Long!A1": [["x" * 50_001, "next"]]})
        await sheet.append("Long", [["😀" * 49_990]])
        [[first, second]] = await sheet.read(["Long!A1:B2"])
        assert 48_000 < len(first[0]) < 50_000 and first[1] == "next"
        assert len(second[0].encode("utf-16-le")) < 2 * 50_000

    async def test_our_lookup_formulas_follow_the_results(self, sheet: Sheet) -> None:
        await sheet.add_tabs(["Campaigns", "Results"])
        await sheet.write({"Campaigns!A1": [["Id"], ["C-0002"], ["C-0001"], [""]]})
        cells = [[LOOKUP.format(n=n, column=2), LOOKUP.format(n=n, column=3)] for n in (2, 3, 4)]
        await sheet.write({"Campaigns!B2:C4": cells}, formulas=True)
        assert (await sheet.read(["Campaigns!A2:C"]))[0][:2] == [["C-0002"], ["C-0001"]]
        await sheet.write({"Results!A1": [["C-0001", "running", 12], ["C-0002", "done", 0]]})
        assert (await sheet.read(["Campaigns!A2:C"]))[0][:2] == [["C-0002", "done", "0"], ["C-0001", "running", "12"]]

    async def test_appending_goes_below_the_last_filled_row(self, sheet: Sheet) -> None:
        await sheet.add_tabs(["Log's"])
        await sheet.write({"'Log''s'!A1": [["head"], [""], ["third"]]})
        await sheet.append("Log's", [["a", 1], ["b", True]])
        await sheet.append("Log's", [])
        assert await sheet.read(["'Log''s'"]) == [[["head"], [], ["third"], ["a", "1"], ["b", "TRUE"]]]

    async def test_clearing_empties_only_the_ranges(self, sheet: Sheet) -> None:
        await sheet.add_tabs(["Data"])
        await sheet.write({"Data!A1": [["h", "i"], ["1", "2"], ["3", "4"]]})
        await sheet.clear(["Data!A2:A", "Data!B3"])
        assert await sheet.read(["Data"]) == [[["h", "i"], ["", "2"]]]
        await sheet.clear([])

    async def test_a_tab_grows_when_more_is_written_than_it_holds(self, sheet: Sheet) -> None:
        await sheet.add_tabs(["Long list"])
        await sheet.write({"'Long list'!A2": [[n] for n in range(1500)], "'Long list'!Z1": [["z", "aa", "ab"]]})
        found = await sheet.read(["'Long list'!A1501:A1501", "'Long list'!AB1"])
        assert found == [[["1499"]], [["ab"]]]

    async def test_a_wrong_range_is_a_sentence(self, sheet: Sheet) -> None:
        for wrong in ("Nowhere!A1", "A1:B2:C3", "Sheet1!1A"):
            with pytest.raises(BadInput):
                await sheet.read([wrong])

    async def test_more_ranges_than_a_url_holds(self, sheet: Sheet) -> None:
        await sheet.add_tabs(["A tab with a rather long title"])
        await sheet.write({"'A tab with a rather long title'!A1": [[n] for n in range(100)]})
        found = await sheet.read([f"'A tab with a rather long title'!A{n}" for n in range(1, 101)])
        assert found == [[[str(n)]] for n in range(100)]

    async def test_a_dressed_tab_says_what_it_wears(self, sheet: Sheet) -> None:
        await sheet.add_tabs(["Plain", "Dressed"])
        await sheet.write({"Dressed!A1": [["State", "Count"], ["done", 1500]], "Plain!A1": [[1500]]})
        columns = (
            Column(1, "Where it stands.", 120, ("go", "done"), colours=(("done", "good"),)),
            Column(2, pattern="#,##0", guarded=True),
        )
        pie = Chart("Parts", "PIE", "Dressed", 1, (2,), 2, 0, 3, 4)
        look = Look(columns, frozen=(1, 1), guard="Ours.", banded=True, hidden=True, charts=(pie,))
        await sheet.dress({"Dressed": look, "Guide": Look(first=True, lines=("one", "=two")), "Absent": look}, "7")
        found = await sheet.workbook()
        assert found.looks == {"Dressed": "7", "Guide": "7"} and next(iter(found.tabs)) == "Guide" and "Absent" not in found.tabs
        assert await sheet.read(["Dressed", "Plain", "Guide"]) == [
            [["State", "Count"], ["done", "1,500"]],
            [["1500"]],
            [["one"], ["=two"]],
        ]
        await sheet.dress({"Guide": Look(lines=("other",)), "Dressed": look}, "8")
        assert (await sheet.workbook()).looks == {"Dressed": "8", "Guide": "8"}
        assert await sheet.read(["Guide"]) == [[["one"], ["=two"]]], "only a tab that is made gets its lines"
        await sheet.dress({"Absent": look}, "8")
        await sheet.dress({}, "8")

    async def test_a_tab_that_is_there_gets_rows_for_fresh_lines_and_keeps_what_people_typed(self, sheet: Sheet) -> None:
        lines = ("1. write", "2. test", "3. send", "stuck?")
        await sheet.dress({"Guide": Look(first=True, lines=("2. test", "stuck?"))}, "1")
        await sheet.write({"Guide!A3": [["ours"]], "Guide!B1": [["beside 2"], ["beside stuck"], ["beside ours"]]})
        await sheet.dress({"Guide": Look(first=True, lines=lines, fresh=("1. write", "3. send"))}, "2")
        there = [["1. write"], ["2. test", "beside 2"], ["3. send"], ["stuck?", "beside stuck"], ["ours", "beside ours"]]
        assert await sheet.read(["Guide"]) == [there]
        await sheet.dress({"Guide": Look(first=True, lines=lines, fresh=("1. write", "3. send"))}, "2")
        assert await sheet.read(["Guide"]) == [there], "what is there is not added again"
        await sheet.write({"Guide!A1": [["a"], ["b"], ["c"], ["d"], ["e"]]})
        await sheet.dress({"Guide": Look(first=True, lines=lines, fresh=("3. send",))}, "3")
        assert await sheet.read(["Guide!A1:A"]) == [[["a"], ["b"], ["c"], ["d"], ["e"]]], "a guide of their own stays as it is"
