"""The list of public names is a promise: whatever is taken from it or added to it is a decision."""

import subprocess
import sys

import maskwright


def test_every_public_name_exists_and_is_documented() -> None:
    for name in maskwright.__all__:
        thing = getattr(maskwright, name)
        assert name == "__version__" or thing.__doc__, name


def test_names_and_homes_agree() -> None:
    assert set(maskwright._HOME_OF) | {"__version__"} == set(maskwright.__all__)
    assert len(maskwright.__all__) == len(set(maskwright.__all__)) == 36


def test_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(maskwright, "no_such_name")


def test_import_does_not_load_torch() -> None:
    code = "import sys, maskwright, maskwright.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
