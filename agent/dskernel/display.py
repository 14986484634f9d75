"""What a kernel shows besides IPython's forms: figures and tables as data.

``install(shell)`` is all that a kernel needs, however it came to be: started, or forked from a process that
has imported libraries already. It imports no library; the module for one is loaded when the user's code
imports that library or shows something of it.
"""

from __future__ import annotations

import importlib

from IPython.core.formatters import BaseFormatter
from IPython.utils.dir2 import get_real_method
from traitlets import ObjectName, Unicode

from dskernel.guard import quietly
from dskernel.hooks import when_imported

CHART = "e2b/chart"
DATA = "e2b/data"


class QuietFormatter(BaseFormatter):
    """Gives a form as data. Objects that can't and methods that fail have none, and the run goes on."""

    _return_type = dict

    def __call__(self, obj):
        """Returns the data, or the data and what there is to say about it."""
        printer = quietly(self._printer, obj)
        return None if printer is None else quietly(printer)

    def _printer(self, obj):
        try:
            function = self.lookup(obj)
        except KeyError:
            method = get_real_method(obj, self.print_method)
            return None if method is None else lambda: _json(method())
        return lambda: function(obj)


def _json(data):
    from dskernel.plain import as_json

    made = as_json(data)
    return made[0] if made and isinstance(made[0], dict) else None


class ChartFormatter(QuietFormatter):
    """Gives what a figure shows as data; other objects may have the method _repr_e2b_chart_."""

    format_type = Unicode(CHART)
    print_method = ObjectName("_repr_e2b_chart_")


class DataFormatter(QuietFormatter):
    """Gives a table as column to values; other objects may have the method _repr_e2b_data_."""

    format_type = Unicode(DATA)
    print_method = ObjectName("_repr_e2b_data_")


# Module below dskernel, function in it, and the classes it is for. pandas 3 names other modules than 2.
CHARTS = (
    ("charts.matplotlib", "chart", (("matplotlib.figure", "FigureBase"),)),
    ("charts.matplotlib", "seaborn_chart", (("seaborn._core.plot", "Plot"),)),
)
TABLES = (
    ("tables", "frame", (("pandas.core.frame", "DataFrame"), ("pandas", "DataFrame"))),
    ("tables", "series", (("pandas.core.series", "Series"), ("pandas", "Series"))),
    ("tables", "index", (("pandas.core.indexes.base", "Index"), ("pandas", "Index"))),
    ("tables", "polars_frame", (("polars.dataframe.frame", "DataFrame"),)),
    ("tables", "polars_series", (("polars.series.series", "Series"),)),
)

# Libraries that want to know how they are shown: the function is called with the shell after their import.
LIBRARIES = (
    ("matplotlib.pyplot", "charts.matplotlib", "connect"),
    ("PIL.Image", "pictures", "connect"),
    ("PIL.ImageShow", "pictures", "connect_viewer"),
    ("plotly.io._renderers", "charts.plotly", "connect"),
    ("altair", "charts.altair", "connect"),
    ("bokeh.io", "charts.bokeh", "connect"),
)


def install(shell) -> None:
    """Makes a shell show charts and tables as data. For a shell that has it already, nothing changes."""
    display = shell.display_formatter
    if CHART in display.formatters:
        return
    charts = display.formatters[CHART] = ChartFormatter(parent=display)
    tables = display.formatters[DATA] = DataFormatter(parent=display)
    for formatter, sources in ((charts, CHARTS), (tables, TABLES)):
        for module, function, classes in sources:
            for where, name in classes:
                formatter.for_type_by_name(where, name, _later(module, function))
    # pyplot's backend has its own functions for these, and puts them in place of ours.
    display.formatters["image/png"].for_type_by_name(
        "matplotlib.figure", "Figure", _later("charts.matplotlib", "png")
    )
    display.mimebundle_formatter.for_type_by_name(
        "bokeh.models.layouts", "LayoutDOM", _later("charts.bokeh", "bundle")
    )
    as_json = display.formatters["application/json"]
    as_json.for_type(dict, _later("plain", "as_json"))
    as_json.for_type(list, _later("plain", "as_json"))
    for library, module, function in LIBRARIES:
        when_imported(library, _connection(shell, module, function))


def _later(module: str, function: str):
    """Returns a function of an object that loads its module at the first call, and never fails."""

    def call(obj, *_args, **_options):
        return quietly(getattr(importlib.import_module("dskernel." + module), function), obj)

    return call


def _connection(shell, module: str, function: str):
    def call() -> None:
        quietly(getattr(importlib.import_module("dskernel." + module), function), shell)

    return call
