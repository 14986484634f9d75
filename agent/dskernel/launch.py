"""Starts the Python kernel of a sandbox: ``python launch.py -f CONNECTION_FILE [options of ipykernel]``.

Takes the place of ``-m ipykernel_launcher``. The modules beside this file are loaded by their place, as the
package ``dskernel``, rather than by sys.path: the user's code imports as it would in a stock kernel.
"""

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = "dskernel"


def load_package():
    """Makes ``dskernel`` importable from the folder of this file."""
    spec = importlib.util.spec_from_file_location(
        PACKAGE, os.path.join(HERE, "__init__.py"), submodule_search_locations=[HERE]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


def main():
    """Runs the kernel until it is told to end."""
    # Neither this folder nor the working directory may lend a module to what is loaded now; IPython adds ''
    # later.
    sys.path[:] = [p for p in sys.path if p and os.path.abspath(p) != HERE]
    load_package()
    try:
        from dskernel.kernelapp import launch
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] == PACKAGE:
            raise
        sys.exit("%s: No module named %r" % (sys.executable, e.name))
    launch()


if __name__ == "__main__":
    main()
