"""The wheel's promises: NumPy is its only requirement, it is under 5 MB, it carries its types and its licence."""

import re
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

path = Path(sys.argv[1])
with zipfile.ZipFile(path) as wheel:
    names = wheel.namelist()
    metadata = Parser().parsestr(wheel.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode())

required = [r for r in metadata.get_all("Requires-Dist") or [] if "extra ==" not in r]
if [re.split(r"[<>=!~ ;\[]", r)[0] for r in required] != ["numpy"]:
    sys.exit(f"{path.name} requires {required}, want numpy alone")
if path.stat().st_size >= 5_000_000:
    sys.exit(f"{path.name} is {path.stat().st_size} bytes, want under 5 MB")
for wanted in ("chainrule/py.typed", "chainrule/_core.pyi"):
    if wanted not in names:
        sys.exit(f"{path.name} lacks {wanted}")
if not any("LICENSE" in n for n in names):
    sys.exit(f"{path.name} lacks LICENSE")
print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, requires {required[0]}")
