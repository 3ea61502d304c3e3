"""The families: one file each, behind the protocol of `base`, found by name in `registry`."""

import logging

# Prophet says once per process that it will not plot, which nobody asked it to.
logging.getLogger("prophet.plot").setLevel(logging.CRITICAL)
