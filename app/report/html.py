"""The report as one HTML file: interactive figures inside, nothing fetched from anywhere, made to be printed as well.

Figures stand there as SVG and are replaced by interactive ones where a script runs. plotly.js is packed (gzip, base64),
so that the file stays under 5 MB; the browser unpacks it (`DecompressionStream`: every browser since 2023).
"""

import base64
import gzip
import json
from functools import lru_cache

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.utils import PlotlyJSONEncoder

from app.report.model import Report
from app.report.static import body, head

_SCRIPT = """
const packed = document.getElementById('plotly-packed').textContent.trim();
const bytes = Uint8Array.from(atob(packed), c => c.charCodeAt(0));
const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
new Response(stream).text().then(source => {
  const script = document.createElement('script');
  script.textContent = source;
  document.head.appendChild(script);
  for (const place of document.querySelectorAll('div.chart')) {
    const figure = JSON.parse(place.querySelector('script').textContent);
    const drawn = document.createElement('div');
    drawn.className = 'live';
    drawn.setAttribute('role', 'img');
    drawn.setAttribute('aria-label', place.dataset.alt);
    place.appendChild(drawn);
    Plotly.newPlot(drawn, figure.data, figure.layout, {displaylogo: false, displayModeBar: false, responsive: true})
      .then(() => place.classList.add('drawn'));
  }
});
"""


def html(report: Report) -> bytes:
    """Return the file, UTF-8."""
    charts = {section.figure.key: _packed(section.figure.chart) for section in report.sections if section.figure}
    script = f'<script type="text/plain" id="plotly-packed">{_plotly()}</script><script>{_SCRIPT}</script>'
    page = f"{head(report)}{body(report, charts)}{script}</body></html>"
    return page.encode()


@lru_cache(maxsize=1)
def _plotly() -> str:
    # No time inside: the same report is the same file.
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _packed(figure: go.Figure) -> str:
    """The figure as JSON inside a script element, without its title, which stands above it."""
    shown = go.Figure(figure)
    legend = figure.to_dict()["layout"].get("showlegend") is not False
    shown.update_layout(title_text="", margin_t=40 if legend else 12)
    content = shown.to_dict()
    content["layout"].pop("template", None)
    text = json.dumps(content, cls=PlotlyJSONEncoder, ensure_ascii=False, separators=(",", ":"))
    return f'<script type="application/json">{text.replace("<", chr(92) + "u003c")}</script>'
