"""CITATION.cff: what the project says of itself elsewhere, and every paper that it reproduces."""

import yaml

from benchmark import __version__, papers
from benchmark.data import croissant
from benchmark.store import ROOT


def test_the_citation_is_of_this_version_and_names_the_papers():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == __version__
    (authors,) = cited["authors"]
    assert authors["name"] == croissant.AUTHORS
    assert authors["name"].lower() in (ROOT / "LICENSE").read_text().lower()
    titles = [reference["title"] for reference in cited["references"]]
    for paper in papers.names():
        citation = papers.part(paper).CITATION
        assert sum(title in citation for title in titles) == 1, paper
        (reference,) = (r for r in cited["references"] if r["title"] in citation)
        assert str(reference["year"]) in citation
        for author in reference["authors"]:
            assert author.get("family-names", "") in citation
