"""The default colours of classes, which are also distinguishable with colour blindness.

The first eight are those of Okabe and Ito ("Color Universal Design", 2008). Each further one has the largest distance
from all before it (the greedy search of Glasbey et al., "Colour displays for categorical images", 2007): the smallest
distance in OKLab under normal vision and under the three dichromacies simulated by Machado et al. (2009). Near-black,
near-white and colours close to the greys of pixels without a class are excluded. `benchmarks/palette.py` generates and
measures the table.
"""

from __future__ import annotations

_HEX = """
    000000 e69f00 56b4e9 009e73 f0e442 0072b2 d55e00 cc79a7 aaddcc aa33ff 5500cc aa3300 772277 aabb88 66ff99 cc0099
    8888ff 882233 cc33cc cccc55 66ccff ddddff 667766 336688 ddaabb ee7733 0000ff 662299 cc1144 77aa66 ee77cc 8866dd
    55ee88 99aa99 bbeecc 5544bb bb6699 336600 bb77dd 99ccdd 8822dd 00aabb bbccaa 447744 9999ff 888855 77bb66 664455
    99bbdd aa44aa 994488 aaffbb dd2233 8877ee 88eeaa ffcc77 ee4477 eebb00 bb0077 33ccbb eeaaff ddee77 558877 9900aa
    dd33bb 55aa44 ddccff 335566 66cc66 cc99ee 9922ee 992244 999911 0077cc ccdd44 773388 9966ff 338800 bb5555 88ffee
    dd7788 eeaa44 ee8855 6655bb aa1199 cc9988 884477 ee66bb 883366 cc6688 88ddee 22dd99 dd99aa 2211dd dd55aa dd33dd
    9999cc 6600bb 99aaff ccbb77 7733cc bb5599 aa77cc bb1133 996688 6677bb ee22ee 668866 33eedd 777755 bbdd66 cc5500
    aa22aa ee99cc bb99dd 994455 aacccc aa33dd bbbbee bb7744 aa77aa dd88bb 665599 ddccbb eeccdd aa0000 77ff55 cc88aa
    bb88dd 88eeee 99ffdd bb9977 88bbcc 995599 887733 cc8855 bbbb55 884433 3399ee 99cc88 ff2266 7766cc bb7799 ddddbb
    3355aa ddbb99 4477ee cc00cc cc66ff 006644 993388 77bbaa 0000ee 99bb22 aa55aa 666633 2288ee 7700aa ddcc33 bbbbaa
    559922 ff77ff ccaa99 ddbbdd 99ff88 33aa22 aa4400 bbff11 77dd55 1144ff dd7700 774422 998866 882266 886644 ffddcc
    aa66dd 997744 4466ff 7711ee 6622cc dd2288 99ee99 bbee88 991177 88ddbb 666677 88ffaa 559988 772288 bbaa77 ccaa55
    bb88bb 994422 775544 22bb22 996666 8899ee aaccee 7788cc 88dd33 88bb99 99aa44 aaeedd 55bb88 8877aa 995555 bb8877
    77ee77 eeee66 11ddcc 33cc88 449966 557788 77cc77 aaaadd cc66cc aacc00 4466cc bb3333 55bbee bbcc77 8822bb 99ddff
    ee66ff 99dd99 aa9999 dd77dd 9966bb 555500 7777dd 7766bb cceebb eedd33 0033ff 008888 bb3377 11ff00 cc88cc 88dd88
    aabbbb 883333 ffccaa bb5500 dd2266 773377 664499 997777 66dd66 eebbaa 7700dd 884455 8844bb aaaa55 ff88aa 777777
"""

PALETTE: tuple[tuple[int, int, int], ...] = tuple(
    (int(color[:2], 16), int(color[2:4], 16), int(color[4:], 16)) for color in _HEX.split()
)
"""256 colours as (red, green, blue)."""


def color_of(index: int) -> tuple[int, int, int]:
    """The colour of a class; colours repeat after 256 classes."""
    return PALETTE[index % len(PALETTE)]
