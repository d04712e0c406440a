"""A plugin of pytest: the tests use the engine that lies in FASTLSTM_ENGINE_FOLDER."""

import importlib.util
import os
import sys
from pathlib import Path

(PATH,) = Path(os.environ["FASTLSTM_ENGINE_FOLDER"]).glob("_engine.*.so")
specification = importlib.util.spec_from_file_location("fastlstm._engine", PATH)
assert specification is not None and specification.loader is not None
module = importlib.util.module_from_spec(specification)
specification.loader.exec_module(module)
# Found here, it is looked for nowhere else.
sys.modules["fastlstm._engine"] = module
