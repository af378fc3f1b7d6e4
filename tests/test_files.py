import os
import stat
import subprocess
import sys

import pytest

from gir_cli import files
from gir_cli.errors import InputError, OutputError


class TestRead:
    def test_returns_the_bytes(self, tmp_path):
        (tmp_path / "a").write_bytes(b"hello")
        assert files.read(str(tmp_path / "a")) == b"hello"
        assert files.read(str(tmp_path / "a"), 2) == b"he"

    def test_refuses_what_is_no_regular_file(self, tmp_path):
        os.mkfifo(tmp_path / "fifo")
        for path in (tmp_path / "fifo", "/dev/zero"):
            with pytest.raises(InputError, match="not a regular file"):
                files.read(str(path))

    def test_says_why_it_cannot(self, tmp_path):
        with pytest.raises(InputError, match=r"^no such file or directory$"):
            files.read(str(tmp_path / "nothing"))
        with pytest.raises(InputError, match="directory"):
            files.read(str(tmp_path))
        with pytest.raises(InputError, match="name"):
            files.read("a\0b")


class TestWrite:
    def test_makes_directories_and_leaves_no_temporaries(self, tmp_path):
        files.write(str(tmp_path / "a/b/c.png"), b"hello")
        assert (tmp_path / "a/b/c.png").read_bytes() == b"hello"
        assert os.listdir(tmp_path / "a/b") == ["c.png"]

    def test_the_umask_is_honoured_and_a_replaced_file_hands_on_its_mode(self, tmp_path):
        path = tmp_path / "a"
        before = os.umask(0o027)
        try:
            files.write(str(path), b"1")
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        files.write(str(path), b"2")
        assert (stat.S_IMODE(path.stat().st_mode), path.read_bytes()) == (0o604, b"2")

    @pytest.mark.parametrize("name", [b"x" * 255, b"\xff\xfe.png", b"-rf", b"a\nb\tc", "ü".encode() * 127])
    def test_any_name_works(self, tmp_path, name):
        path = os.path.join(os.fsencode(tmp_path), name)
        files.write(os.fsdecode(path), b"hello")
        assert files.read(os.fsdecode(path)) == b"hello"

    def test_a_name_that_is_too_long_is_an_output_error(self, tmp_path):
        with pytest.raises(OutputError, match="file name too long"):
            files.write(str(tmp_path / ("x" * 256)), b"")
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError(28, "No space left on device")])
    def test_nothing_is_left_when_it_is_stopped(self, tmp_path, monkeypatch, error):
        def stop(*_):
            raise error

        monkeypatch.setattr(os, "replace", stop)
        with pytest.raises(OutputError if isinstance(error, OSError) else error):
            files.write(str(tmp_path / "a"), b"hello")
        assert os.listdir(tmp_path) == []

    def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(self, tmp_path):
        (tmp_path / "elsewhere").write_bytes(b"precious")
        os.symlink(tmp_path / "elsewhere", tmp_path / "link")
        files.write(str(tmp_path / "link"), b"hello")
        assert (tmp_path / "elsewhere").read_bytes() == b"precious"
        assert not os.path.islink(tmp_path / "link")

    def test_a_device_stays_a_device(self):
        files.write("/dev/null", b"hello")
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)

    def test_a_directory_is_refused(self, tmp_path):
        with pytest.raises(OutputError, match="is a directory"):
            files.write(str(tmp_path), b"")

    @pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
    def test_a_read_only_directory(self, tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(OutputError, match="permission denied"):
            files.write(str(tmp_path / "a"), b"")


def test_names_are_shown_on_one_line():
    assert files.shown("a b-ü.png") == "a b-ü.png"
    assert files.shown(os.fsdecode(b"a\nb\x1b[31m\xff\t")) == "a\\nb\\x1b[31m\\xff\\t"


def test_c_libraries_are_hushed_and_python_is_heard():
    program = (
        "import os, sys; from gir_cli.image.quiet import hushed; sys.stderr = hushed();"
        "os.write(2, b'Corrupt JPEG data'); print('gir: said', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stderr == b"gir: said\n"
