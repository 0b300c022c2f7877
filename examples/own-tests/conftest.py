"""Makes this folder's own config.py and collector.py importable; the fixtures come from the installed plugin."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
