#!/usr/bin/env bash
# mlcroissant gives the records of another data set, if both call their archive by the same relative name.
#
# Expected: two data sets in two folders, each with its own images.zip and the right sha256 of it, are read as what they are.
# Seen:     mlcroissant 1.1.1: whichever is read first, the other one's records are those of the first. Alone, each is right. Nothing is
#           raised, in one process or in two.
# Matters:  archives called data.zip or images.zip are common, and so are exports of several versions of one data set: training
#           and test set, or this year's and last year's, turn into one.
# Source:   the records below; unpacked archives are kept under a hash of contentUrl (mlcroissant's operation Extract), and neither the
#           folder nor the checksum is part of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HOME="$folder" XDG_CACHE_HOME="$folder/cache" CROISSANT_CACHE="$folder/cache"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check mlcroissant==1.1.1
cat > show.py <<'PY'
import hashlib
import json
import pathlib
import sys
import warnings
import zipfile
from importlib.metadata import version

import mlcroissant as mlc

warnings.simplefilter("ignore")


def written(name):
    """A data set of one text file, which says its name."""
    folder = pathlib.Path(name)
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "texts.zip", "w") as archive:
        archive.writestr("one.txt", f"I am {name}")
    digest = hashlib.sha256((folder / "texts.zip").read_bytes()).hexdigest()
    source = {"fileSet": {"@id": "texts"}, "extract": {"fileProperty": "content"}}
    described = {
        "@context": {
            "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
            "cr": "http://mlcommons.org/croissant/", "dct": "http://purl.org/dc/terms/",
            "conformsTo": "dct:conformsTo", "recordSet": "cr:recordSet",
            "field": "cr:field", "fileSet": "cr:fileSet", "fileObject": "cr:fileObject",
            "fileProperty": "cr:fileProperty", "extract": "cr:extract",
            "includes": "cr:includes", "source": "cr:source",
            "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        },
        "@type": "sc:Dataset", "name": name, "conformsTo": "http://mlcommons.org/croissant/1.0",
        "distribution": [
            {"@type": "cr:FileObject", "@id": "zip", "name": "zip", "contentUrl": "texts.zip",
             "encodingFormat": "application/zip", "sha256": digest},
            {"@type": "cr:FileSet", "@id": "texts", "name": "texts", "includes": "*.txt",
             "containedIn": {"@id": "zip"}, "encodingFormat": "text/plain"},
        ],
        "recordSet": [{
            "@type": "cr:RecordSet", "@id": "lines", "name": "lines",
            "field": [{"@type": "cr:Field", "@id": "lines/text", "name": "text",
                       "dataType": "sc:Text", "source": source}],
        }],
    }
    (folder / "croissant.json").write_text(json.dumps(described))
    return folder / "croissant.json"


def read(name):
    (record,) = mlc.Dataset(str(written(name))).records("lines")
    (text,) = record.values()
    return text.decode() if isinstance(text, bytes) else text


for name in sys.argv[1:]:
    print(f"{version('mlcroissant')} {name}: {read(name)}")
PY
env/bin/python show.py a b 2>err | tee seen || { cat err; exit 1; }
rm -rf cache .cache
env/bin/python show.py b 2>err | tee -a seen || { cat err; exit 1; }
expected="1.1.1 a: I am a
1.1.1 b: I am a
1.1.1 b: I am b"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
