"""Draw ``favicon.png``: three energy levels, the lowest one filled. ``python -m app.favicon`` writes it again."""

from pathlib import Path

from PIL import Image, ImageDraw

FILE = Path(__file__).with_name("favicon.png")


def draw(side: int = 64) -> Image.Image:
    """Return the icon, drawn at four times its size and shrunk for smooth edges.

    >>> draw().size
    (64, 64)
    """
    big = 4 * side
    image = Image.new("RGBA", (big, big), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((0, 0, big - 1, big - 1), radius=big // 5, fill="#1D4ED8")
    for level, (left, right) in enumerate(((0.52, 0.84), (0.34, 0.66), (0.16, 0.48))):
        top = big * (0.24 + 0.22 * level)
        pen.rounded_rectangle(
            (big * left, top, big * right, top + big * 0.1),
            radius=big // 24,
            fill="#FFFFFF" if level == 2 else "#93B4F8",
        )
    return image.resize((side, side), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    draw().save(FILE, optimize=True)
