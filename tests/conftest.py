"""Shapes are checked while testing: jaxtyping and beartype wrap every function of the package."""

import os

from jaxtyping import install_import_hook

install_import_hook("unnoise", "beartype.beartype")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small tensors: a second thread only waits
