"""What the legend of an axes of matplotlib calls its colours: seaborn names artists nowhere else."""

from __future__ import annotations

import re

import numpy
from matplotlib.colors import to_hex

from dskernel.guard import quietly

MOST = 100  # names


class Names:
    """Names artists by their own label, or else as the legend names their colour."""

    def __init__(self, axes) -> None:
        legend = axes.get_legend()
        if legend is None:
            legend = next(iter(axes.figure.legends), None)
        self.by_style: dict = {}
        self.by_colour: dict = {}
        if legend is None:
            return
        handles = getattr(legend, "legend_handles", None) or getattr(legend, "legendHandles", None) or []
        for handle, text in list(zip(handles, legend.get_texts()))[:MOST]:
            colour = quietly(colour_of, handle)
            if colour is not None and text.get_text():
                self.by_colour.setdefault(colour, text.get_text())
                self.by_style.setdefault((colour, _style(handle)), text.get_text())

    def of(self, artist, kind: str, number: int | None = None) -> str:
        """Returns an artist's name, ``kind`` and a number if it has none."""
        label = str(artist.get_label())
        given = re.fullmatch(r"_(?:child|container)(\d+)", label)
        if not given and not label.startswith("_nolegend_"):
            return label
        found = self.colour(artist)
        if found:
            return found
        number = int(given.group(1)) if given and number is None else number or 0
        return "%s %d" % (kind, number)

    def colour(self, artist) -> str | None:
        """Returns what the legend calls the colour of an artist, or of the first part of a container."""
        if not self.by_colour:
            return None
        if isinstance(artist, tuple):
            artist = artist[0]
        colour = quietly(colour_of, artist)
        return self.by_style.get((colour, _style(artist))) or self.by_colour.get(colour)

    def split(self, collection, count: int) -> list[tuple[str, numpy.ndarray]] | None:
        """Returns the points of each name, if the legend knows the colours of all."""
        colours = collection.get_facecolors()
        if len(colours) != count or count < 2 or len(self.by_colour) < 2:
            return None
        whole = numpy.round(colours[:, :3] * 255).astype(numpy.int64)
        codes = (whole[:, 0] << 16) | (whole[:, 1] << 8) | whole[:, 2]
        found = {code: self.by_colour.get("#%06x" % code) for code in numpy.unique(codes).tolist()}
        if None in found.values():
            return None
        order = {name: n for n, name in enumerate(self.by_colour.values())}
        names = sorted(found.items(), key=lambda item: order[item[1]])
        return [(name, numpy.flatnonzero(codes == code)) for code, name in names]


def colour_of(artist) -> str:
    """Returns the colour an artist is known by, without its transparency."""
    if hasattr(artist, "get_markerfacecolor"):
        marked = artist.get_linestyle() in ("None", "", " ")
        return to_hex(artist.get_markerfacecolor() if marked else artist.get_color())
    colour = artist.get_facecolor()
    return to_hex(colour[0] if numpy.ndim(colour) == 2 else colour)


def _style(artist):
    return artist.get_linestyle() if hasattr(artist, "get_markerfacecolor") else None
