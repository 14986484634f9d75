"""Starts the Python kernel of a sandbox: python launch.py -f CONNECTION_FILE [options of ipykernel].

Takes the place of ``-m ipykernel_launcher``. Our package is loaded by its place rather than by sys.path, so that
the user's code imports as it would in a stock kernel.
"""

import importlib.util
import os
import sys


def load_package():
    """Makes ``dskernel`` importable from the folder of this file."""
    here = os.path.dirname(os.path.abspath(__file__))
    spec = importlib.util.spec_from_file_location(
        "dskernel", os.path.join(here, "__init__.py"), submodule_search_locations=[here]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["dskernel"] = module
    spec.loader.exec_module(module)


def main():
    # The folder of this file; IPython puts the working directory in its place.
    del sys.path[0]
    load_package()
    try:
        import ipykernel  # noqa: F401
    except ModuleNotFoundError as e:
        sys.exit("%s: No module named %r" % (sys.executable, e.name))
    from dskernel.kernelapp import launch

    launch()


if __name__ == "__main__":
    main()
