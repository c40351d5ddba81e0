"""What units of work call methods: one name each, and the names that the project's own methods have always had."""

import pytest

from benchmark.methods import registry
from benchmark.methods.registry import MethodRef
from benchmark.pipeline import cells
from benchmark.pipeline.profile import Profile
from benchmark.utils.near_names import UnknownName
from tests.helpers.places import ROOT


def test_classes_of_one_file_or_library_have_names_of_their_own(tmp_path):
    (tmp_path / "mine.py").write_text("")
    entries = ["mine.py:A", "mine.py:B", "captum:Saliency", "captum:LRP"]
    labels = [MethodRef.parse(entry, tmp_path).label for entry in entries]
    assert labels == ["mine:A", "mine:B", "captum:Saliency", "captum:LRP"]
    names = []
    for entry in entries:
        ref = MethodRef.parse(entry, tmp_path)
        names.append(cells.Cell("p", "digits", "cnn", 0, ref).name)
    assert names[0] == "digits/cnn/seed=0 mine:A" and len(set(names)) == 4


def test_the_projects_own_methods_are_called_by_their_files():
    """Times that were measured stay those of the same unit."""
    labels = {ref.label for ref in registry.method_refs()}
    assert {"grad_cam", "ace", "cladec", "layer_trees", "xnn"} <= labels
    assert len(labels) == len(registry.method_refs())  # one method a file


@pytest.mark.parametrize(
    "name", ["offline", "quick", "trees", "decoders", "cladec", "paper"]
)
def test_no_two_cells_of_a_profile_share_a_name(name):
    profile = Profile.read(ROOT / "benchmark" / "profiles" / f"{name}.yaml")
    for dataset in profile.datasets:
        found = [cell.name for cell in cells.cells(profile, dataset)]
        assert len(found) == len(set(found))


def test_two_files_of_one_name_are_refused_before_one_is_overwritten(tmp_path):
    refs = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"class A:\n    name = '{folder}'\n")
        refs.append(MethodRef.parse("mine.py:A", tmp_path / folder))
    assert refs[0].slug == refs[1].slug
    with pytest.raises(UnknownName, match="have one name, and both a class A; rename"):
        cells._refuse_equal_files(refs)


def test_a_remark_is_of_libraries_only():
    assert registry.remark(MethodRef.parse("baselines/grad_cam.py:GradCAM")) == ""
