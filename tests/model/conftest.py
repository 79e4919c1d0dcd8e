"""Where do the tests of this folder find the model and the replay? Beside themselves."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
