"""Feast imported fast, and as it is, each time in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
IS_CHECKED = """
def is_checked(make):
    try:
        make()
    except typeguard.TypeCheckError:
        return True
    except Exception:
        pass
    return False
"""


def run(code: str) -> str:
    text = "import typeguard\n" + IS_CHECKED + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_feasts_classes_are_not_checked():
    said = run("""
        from feast_delta import fast_import
        fast_import.enable()
        from feast import Field
        print(is_checked(lambda: Field(name=5, dtype="no type")))
    """)
    assert said == "False"


def test_feast_that_is_there_already_keeps_its_checks():
    said = run("""
        from feast import Field
        print(is_checked(lambda: Field(name=5, dtype="no type")))
        from feast_delta import fast_import
        fast_import.enable()
        from feast import Entity
        print(is_checked(lambda: Entity(name=5)))
    """)
    assert said.split() == ["True", "True"]


CHECKED = """
from typeguard import ForwardRefPolicy, typechecked

@typechecked
class Thing:
    def __init__(self, number: int) -> None:
        self.number = number

@typechecked(forward_ref_policy=ForwardRefPolicy.IGNORE)
def double(number: int) -> int:
    return 2 * number
"""


def test_typeguard_stays_as_it_is_for_all_others_also_meanwhile(tmp_path):
    (tmp_path / "other.py").write_text(CHECKED)
    (tmp_path / "feast.py").write_text(f"import other\n{CHECKED}")
    said = run(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from feast_delta import fast_import

        before = typeguard.typechecked
        fast_import.enable()
        fast_import.enable()
        import feast, other
        print(is_checked(lambda: feast.Thing("x")), is_checked(lambda: other.Thing("x")))
        print(is_checked(lambda: feast.double("x")), is_checked(lambda: other.double("x")))
        ours = [finder for finder in sys.meta_path if type(finder).__module__ == fast_import.__name__]
        print(typeguard.typechecked is before, len(ours))
    """)
    assert said.splitlines() == ["False True", "True True", "True 1"]


def test_a_feast_that_cannot_be_imported_leaves_typeguard_as_it_is(tmp_path):
    (tmp_path / "feast.py").write_text("raise ImportError('broken')")
    said = run(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from feast_delta import fast_import

        before = typeguard.typechecked
        fast_import.enable()
        try:
            import feast
        except ImportError as error:
            print(error, typeguard.typechecked is before)
    """)
    assert said == "broken True"
