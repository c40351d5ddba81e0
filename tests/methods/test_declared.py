"""What the text of files says is what their modules declare when they are imported."""

from benchmark import store
from benchmark.methods import declared, registry
from benchmark.metrics.glossary import entry


def test_metrics_are_those_that_are_declared():
    wanted = []
    for m in registry.metrics().values():
        texts = filter(None, map(store.setting_text, m.settings))
        wanted.append(
            {
                "metric": m.name,
                "asks": entry(m).question,
                "track": m.track,
                "better": m.better,
                "unit": m.unit,
                "needs": ", ".join(sorted(m.needs)),
                "settings": " | ".join(texts),
                "source": m.source,
            }
        )
    assert declared.metrics() == wanted
    assert all(tuple(row) == declared.METRIC for row in wanted)


def test_methods_are_those_that_can_be_built():
    wanted = []
    for ref in registry.method_refs():
        name, kind, setting = registry.describe(ref.build())
        idea = registry.load_module(ref.path).__doc__.strip().splitlines()[0]
        facts = {"method": name, "kind": kind, "use": f"{ref.file}:{ref.cls}"}
        wanted.append(facts | {"settings": setting, "idea": idea})
    assert declared.methods() == wanted
