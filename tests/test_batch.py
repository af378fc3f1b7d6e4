import os
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gir_cli import files
from gir_cli.batch import STDIN, STDOUT, Item, Placing, framed, listed, listing, ordered, plan
from gir_cli.errors import GirError, InputError, UsageError
from gir_cli.image import Image, encode

BLACK = Image(np.zeros((32, 32, 3), np.float32))
FILES = ("in/a.png", "in/b.jpg", "in/sub/a.png", "in/sub/c.tiff", "in/.hidden.png", "in/.git/x.png", "in/z\n.png")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        files.write(name, encode(BLACK, name.rpartition(".")[2]).data)
    files.write("in/notes.txt", b"hello")
    os.mkfifo("in/fifo.png")
    os.symlink("sub", "in/link")
    return tmp_path


def targets(operands, terminal=False, **placing):
    return {i.source: i.target for i in plan(operands, Placing(**placing), terminal=terminal, suffix=".worse")}


class TestPlaces:
    def test_one_file_goes_where_it_is_told(self, here):
        assert targets(["in/a.png"], output="x.webp") == {"in/a.png": "x.webp"}
        assert plan(["in/a.png"], Placing(output="x.webp"))[0].format == "webp"

    def test_a_directory_that_exists_or_ends_in_a_slash_takes_it_in(self, here):
        os.mkdir("out")
        assert targets(["in/a.png"], output="out") == {"in/a.png": "out/a.png"}
        assert targets(["in/a.png"], output="new/") == {"in/a.png": "new/a.png"}

    def test_several_files_go_into_a_directory(self, here):
        assert targets(["in/a.png", "in/b.jpg"], output="out") == {"in/a.png": "out/a.png", "in/b.jpg": "out/b.jpg"}

    def test_without_a_place_one_file_goes_to_standard_output_or_beside(self, here):
        assert targets(["in/a.png"]) == {"in/a.png": STDOUT}
        assert targets(["in/a.png"], terminal=True) == {"in/a.png": "a.worse.png"}
        assert targets(["in/a.png"], terminal=True, suffix="+", format="tif") == {"in/a.png": "a+.tif"}

    def test_without_a_place_several_are_refused(self, here):
        for operands in (["in/a.png", "in/b.jpg"], ["in"]):
            with pytest.raises(UsageError, match="several inputs need -o"):
                plan(operands, Placing())

    def test_a_tree_is_mirrored(self, here):
        assert targets(["in"], output="out", recursive=True) == {
            "in/a.png": "out/a.png",
            "in/b.jpg": "out/b.jpg",
            "in/sub/a.png": "out/sub/a.png",
            "in/sub/c.tiff": "out/sub/c.tiff",
            "in/z\n.png": "out/z\n.png",
        }

    def test_a_scan_does_not_descend_unasked(self, here):
        assert list(targets(["in"], output="out")) == ["in/a.png", "in/b.jpg", "in/z\n.png"]

    def test_keys_are_relative_to_the_operand(self, here):
        keys = [item.key for item in plan(["in/", "in/sub/a.png"], Placing(output="-", format="png", recursive=True))]
        assert keys == ["a.png", "b.jpg", "sub/a.png", "sub/c.tiff", "z\n.png", "a.png"]

    def test_the_output_directory_is_not_scanned(self, here):
        first = targets(["in"], output="in/out", recursive=True)
        for target in first.values():
            files.write(target, encode(BLACK).data)
        assert targets(["in"], output="in/out", recursive=True) == first

    def test_order_is_by_bytes(self, here):
        for name in (b"in/B.png", b"in/\xff.png", b"in/\xc3\xa9.png"):
            files.write(os.fsdecode(name), encode(BLACK).data)
        found = [os.fsencode(source) for source in targets(["in"], output="out")]
        assert found == sorted(found)
        assert len(found) == 6

    def test_template_and_suffix(self, here):
        assert targets(["in/a.png"], output="o/", suffix="_x") == {"in/a.png": "o/a_x.png"}
        assert targets(["in/b.jpg"], output="o/", name="{suffix}-{stem}.{ext}", suffix="r") == {"in/b.jpg": "o/r-b.jpg"}
        assert targets(["in/b.jpg"], output="o/", format="jpeg") == {"in/b.jpg": "o/b.jpg"}
        assert targets(["in/b.jpg"], output="o/", format="png") == {"in/b.jpg": "o/b.png"}

    def test_several_inputs_do_not_go_into_a_file(self, here):
        with pytest.raises(UsageError, match=r"in/b.jpg is a file; several inputs need a directory"):
            plan(["in"], Placing(output="in/b.jpg"))

    @pytest.mark.parametrize("name", ["../{stem}", "{stem}/{ext}", "..", "", "{number}", "\0"])
    def test_templates_that_lead_elsewhere_are_refused(self, here, name):
        with pytest.raises(UsageError):
            plan(["in/a.png"], Placing(output="o/", name=name))

    def test_content_not_the_name_tells_the_format(self, here):
        os.rename("in/a.png", "in/a.jpg")
        (item,) = plan(["in/a.jpg"], Placing(output="o/"))
        assert (item.format, item.target) == ("png", "o/a.png")

    def test_an_unknown_extension_is_refused(self, here):
        with pytest.raises(UsageError, match="'xyz'"):
            plan(["in/a.png"], Placing(output="a.xyz"))
        with pytest.raises(UsageError, match="gif can be read but not written"):
            plan(["in/a.png"], Placing(output="a.gif"))
        assert plan(["in/a.png"], Placing(output="a.xyz", format="png"))[0].target == "a.xyz"

    def test_in_place(self, here):
        os.symlink("a.png", "in/another.png")
        assert targets(["in/b.jpg"], in_place=True) == {"in/b.jpg": str(here / "in/b.jpg")}
        assert targets(["in/another.png"], in_place=True) == {"in/another.png": str(here / "in/a.png")}
        for more in ({"output": "x"}, {"format": "png"}, {"skip_existing": True}, {"update": True}):
            with pytest.raises(UsageError):
                plan(["in/a.png"], Placing(in_place=True, **more))
        with pytest.raises(UsageError):
            plan([STDIN], Placing(in_place=True))


class TestRefusals:
    def test_two_results_in_one_file_are_listed(self, here):
        with pytest.raises(UsageError, match=r"in/a.png -> o/a.png and in/sub/a.png -> o/a.png"):
            plan(["in/a.png", "in/sub/a.png"], Placing(output="o"))

    def test_results_that_meet_through_links(self, here):
        os.makedirs("o/real")
        os.symlink("real", "o/link")
        os.makedirs("t/link")
        os.makedirs("t/real")
        for name in ("t/link/a.png", "t/real/a.png"):
            files.write(name, encode(BLACK).data)
        with pytest.raises(UsageError, match="two inputs would write one output"):
            plan(["t"], Placing(output="o", recursive=True))

    @pytest.mark.parametrize("output", ["in", "in/../in/a.png", "hard.png", "in/"])
    def test_an_input_is_not_overwritten(self, here, output):
        os.link("in/a.png", "hard.png")
        with pytest.raises(UsageError, match="--in-place"):
            plan(["in/a.png"], Placing(output=output))

    def test_the_input_of_another_is_not_overwritten(self, here):
        files.write("in/sub/a_x.png", encode(BLACK).data)
        with pytest.raises(UsageError, match=r"\(--in-place allows it\): in/a.png -> in/sub/a_x.png$"):
            plan(["in/a.png", "in/sub/a_x.png"], Placing(output="in/sub", suffix="_x"))

    def test_a_link_beneath_the_output_leads_nowhere(self, here):
        os.mkdir("out")
        os.symlink("/", "out/sub")
        faults = {item.source: item.fault for item in plan(["in"], Placing(output="out", recursive=True))}
        assert "leave the output directory" in str(faults["in/sub/a.png"])
        assert faults["in/a.png"] is None

    def test_a_file_link_in_a_scan_is_not_followed_out_of_it_in_place(self, here):
        files.write("out/a.png", encode(BLACK).data)
        os.symlink("../out/a.png", "in/out.png")
        os.symlink("sub/a.png", "in/sub.png")
        items = {item.source: item for item in plan(["in"], Placing(in_place=True))}
        assert "leave the output directory" in str(items["in/out.png"].fault)
        assert items["in/sub.png"].target == str(here / "in/sub/a.png")
        assert plan(["in/out.png"], Placing(in_place=True))[0].target == str(here / "out/a.png")

    def test_a_mixed_stream_is_refused(self, here):
        with pytest.raises(UsageError, match="need -f"):
            plan(["in"], Placing(output=STDOUT))
        assert len(plan(["in"], Placing(output=STDOUT, format="ppm"))) == 3

    def test_standard_input_is_read_once(self, here):
        with pytest.raises(UsageError):
            plan([STDIN, STDIN], Placing(output="o/"))


class TestFaults:
    def test_what_is_named_and_no_image_is_an_error_of_its_own(self, here):
        names = ["in/notes.txt", "in/fifo.png", "in/none.png", "in/a.png"]
        items = plan(names, Placing(output="out"))
        assert [str(item.fault) for item in items] == [
            "not an image I can read",
            "not a regular file",
            "no such file or directory",
            "None",
        ]
        assert all(isinstance(item.fault, InputError) for item in items[:3])

    def test_a_directory_without_images_is_told(self, here):
        os.makedirs("empty/in")
        for recursive, said in ((False, "holds no images (-r descends)"), (True, "holds no images")):
            (item,) = plan(["empty"], Placing(output="out", recursive=recursive))
            assert (item.source, str(item.fault)) == ("empty", said)

    def test_an_image_of_a_format_not_supported_is_told_in_a_scan(self, here):
        files.write("in/a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
        (fault,) = [item.fault for item in plan(["in"], Placing(output="out")) if item.fault]
        assert "HEIC is not supported" in str(fault)

    def test_a_file_in_a_scan_that_is_only_called_an_image_is_told_and_others_are_passed_over(self, here):
        files.write("in/b.png", b"")
        files.write("in/c.jpg", b"hello")
        faults = [str(item.fault) for item in plan(["in"], Placing(output="out")) if item.fault]
        assert faults == ["empty file", "not an image I can read"]

    def test_a_link_in_a_scan_that_leads_in_a_circle_is_told_and_the_others_are_found(self, here):
        os.symlink("b.png", "in/b.png")
        faults = {item.source: str(item.fault) for item in plan(["in"], Placing(output="out")) if item.fault}
        assert faults == {"in/b.png": "too many levels of symbolic links"}

    @pytest.mark.skipif(os.getuid() == 0, reason="root may read anything")
    def test_a_file_in_a_scan_that_cannot_be_opened_is_told(self, here):
        os.chmod("in/a.png", 0)
        assert next(str(item.fault) for item in plan(["in"], Placing(output="out"))) == "permission denied"


class TestSkipping:
    def test_skip_existing(self, here):
        files.write("out/a.png", b"")
        items = plan(["in"], Placing(output="out", skip_existing=True))
        assert [bool(item.skipped) for item in items] == [True, False, False]

    def test_update(self, here):
        files.write("out/a.png", b"")
        for when, since, skipped in ((-9, 0, False), (9, 0, True), (9, 20, False)):
            now = os.stat("in/a.png").st_mtime
            os.utime("out/a.png", (now + when, now + when))
            (item,) = plan(["in/a.png"], Placing(output="out", update=True), since=now + since - 0.5)
            assert bool(item.skipped) is skipped

    def test_both_exclude_each_other(self, here):
        with pytest.raises(UsageError):
            plan(["in"], Placing(output="out", update=True, skip_existing=True))

    def test_the_list_of_a_dry_run(self, here):
        files.write("out/a.png", b"")
        items = plan(["in", "none.png"], Placing(output="out", skip_existing=True))
        assert list(listing(items)) == ["in/b.jpg\tout/b.jpg", "in/z\\n.png\tout/z\\n.png"]


class TestShards:
    def test_together_are_everything_once(self, here):
        whole = plan(["in"], Placing(output="out", recursive=True))
        parts = [plan(["in"], Placing(output="out", recursive=True, shard=f"{k}/3")) for k in (1, 2, 3)]
        assert sorted(i.source for part in parts for i in part) == sorted(i.source for i in whole)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1

    @pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
    def test_nonsense_is_refused(self, here, shard):
        with pytest.raises(UsageError, match="K/N"):
            plan(["in"], Placing(output="out", shard=shard))


class TestStandardInput:
    def test_goes_to_standard_output(self):
        assert plan([STDIN], Placing()) == [Item(STDIN, STDOUT, "0")]

    def test_never_goes_to_a_terminal(self):
        assert targets([STDIN], terminal=True) == {STDIN: "stdin.worse.png"}

    def test_frames_are_numbered_in_a_directory(self):
        (item,) = plan([STDIN], Placing(output="frames/"))
        assert framed(item, 12, "png").target == "frames/000012.png"
        assert framed(item, 12, "png").key == "12"

    @pytest.mark.parametrize("frame", ["000001.png", "1234567.jpg"])
    def test_frames_meet_no_other_file(self, here, frame):
        files.write(f"in/{frame}", encode(BLACK).data)
        for placing in (Placing(output="o/"), Placing(output="in/", suffix="_x"), Placing(output="./in/sub/..")):
            with pytest.raises(UsageError, match=rf"a frame .* meet .*: in/{frame} -> "):
                plan([STDIN, f"in/{frame}"], placing)
        assert len(plan([STDIN, "in/a.png", f"in/{frame}"], Placing(output="o/", suffix="_x"))) == 3

    def test_one_file_holds_one_frame(self):
        (item,) = plan([STDIN], Placing(output="x.png"))
        assert framed(item, 1, "png").target == "x.png"
        assert isinstance(framed(item, 2, "png").fault, UsageError)


@given(st.lists(st.binary(min_size=1).filter(lambda name: b"\0" not in name)))
def test_any_names_survive_a_list_ended_by_nul(names):
    assert [os.fsencode(name) for name in listed(b"\0".join(names) + b"\0", null=True)] == names


def test_a_list_by_lines():
    assert listed(b"a b\n\n-c\n\xff") == ["a b", "-c", "\udcff"]


class TestOrdered:
    @pytest.mark.parametrize("workers", [1, 2, 5])
    def test_results_come_in_order_for_any_number_of_workers(self, workers):
        def work(number):
            time.sleep((number * 7 % 5) / 1000)
            return number * number

        assert list(ordered(work, range(30), workers=workers)) == [(n, n * n) for n in range(30)]

    def test_faults_take_the_place_of_their_results(self):
        def work(number):
            if number == 1:
                raise InputError("bad")
            return number

        found = [outcome for _, outcome in ordered(work, range(3), workers=2)]
        assert (found[0], str(found[1]), found[2]) == (0, "bad", 2)
        assert isinstance(found[1], GirError)

    def test_bugs_are_raised(self):
        with pytest.raises(ZeroDivisionError):
            list(ordered(lambda n: 1 // n, [1, 0], workers=2))

    def test_few_things_are_under_way(self):
        drawn = []

        def given_things():
            for number in range(100):
                drawn.append(number)
                yield number

        for done, _ in enumerate(ordered(lambda n: n, given_things(), workers=3), 1):
            assert len(drawn) - done < 6

    def test_work_overlaps(self):
        meet = threading.Barrier(3, timeout=5)
        assert len(list(ordered(lambda _: meet.wait(), range(6), workers=3))) == 6

    def test_stages_follow_each_other_with_the_middle_in_this_thread(self):
        threads = set()

        def middle(things):
            for number, loaded in things:
                threads.add(threading.current_thread())
                yield number, loaded + 1

        loaded = ordered(lambda n: 10 * n, range(5), workers=2)
        saved = ordered(lambda pair: pair[1] * 2, middle(loaded), workers=2)
        assert [result for _, result in saved] == [2, 22, 42, 62, 82]
        assert threads == {threading.main_thread()}

    def test_leaving_early_waits_for_what_runs_and_starts_no_more(self):
        done = []
        results = ordered(lambda n: done.append(n), range(100), workers=2)
        next(results)
        results.close()
        before = len(done)
        time.sleep(0.02)
        assert len(done) == before <= 6


def test_a_degrade_command_is_this_short(here):
    """What the command line does with the planner and the image package."""
    from gir_cli.image import decode

    def work(item):
        if item.fault:
            raise item.fault
        image = decode(files.read(item.source))
        done = encode(image.replaced(1 - image.visible()), item.format)
        files.write(item.target, done.data)

    files.write("in/cut.png", encode(BLACK).data[:60])
    items = plan(["in"], Placing(output="out", recursive=True))
    outcomes = {item.source: outcome for item, outcome in ordered(work, items, workers=2)}
    assert str(outcomes.pop("in/cut.png")) == "truncated PNG"
    assert set(outcomes.values()) == {None}
    assert not os.path.exists("out/cut.png")
    assert decode(files.read("out/sub/c.tiff")).pixels.min() == 1
