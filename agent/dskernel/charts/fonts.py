"""A font for Chinese, Japanese and Korean in matplotlib's figures, where the machine has one."""

from __future__ import annotations

import sys

# Families that have all three, or much of them: Linux, macOS, Windows.
NAMES = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK TC", "Noto Sans CJK KR", "Noto Sans SC"),
    *("Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *(
        "Droid Sans Fallback",
        "PingFang SC",
        "Hiragino Sans GB",
        "Hiragino Sans",
        "Arial Unicode MS",
        "Microsoft YaHei",
        "SimHei",
    ),
    *("Yu Gothic", "MS Gothic", "Malgun Gothic", "NanumGothic", "IPAGothic", "TakaoGothic", "VL Gothic"),
    *("AR PL UMing CN", "AR PL UKai CN", "Unifont"),
)


def add_fallback() -> None:
    """Lets text take from such a font what its own does not have, unless the user's settings name fonts.

    matplotlib knows its fonts by now: nothing is searched.
    """
    matplotlib, manager = sys.modules["matplotlib"], sys.modules.get("matplotlib.font_manager")
    if manager is None:
        return
    there = {font.name for font in manager.fontManager.ttflist}
    name = next((name for name in NAMES if name in there), None)
    if name is None:
        return
    for settings in (matplotlib.rcParams, matplotlib.rcParamsDefault):  # the second is what style.use gives
        if list(settings["font.family"]) == ["sans-serif"]:
            settings["font.family"] = ["sans-serif", name]
