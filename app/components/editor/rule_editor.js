// The editor of rules: a text area with line numbers. What was typed is sent when the keyboard rests for `data.pause`
// milliseconds, or when the person leaves the field. The page answers with marks, and sends a text of its own only
// with a new revision, so that it never fights with the cursor.
const SIGNS = { error: "✕", broken: "!" }

export default function (component) {
  const { data, parentElement, setStateValue } = component
  const find = (what) => parentElement.querySelector(what)
  const area = find("textarea")
  if (!area || !data) return
  const state = (area.state ??= { revision: null, sent: "", timer: 0, went: 0 })
  const shelf = `jebm-rules:${data.slot}`

  const keep = () => {
    try {
      sessionStorage.setItem(shelf, JSON.stringify({ base: data.base, text: area.value }))
    } catch {
      // Without storage the text is still in the session; only a reload before saving would lose it.
    }
  }
  const send = () => {
    clearTimeout(state.timer)
    if (area.value === state.sent) return
    state.sent = area.value
    setStateValue("edit", { text: area.value, revision: state.revision, slot: data.slot })
  }
  const scrolled = () => {
    const down = `translateY(${-area.scrollTop}px)`
    find(".numbers").style.transform = down
    find(".signs").style.transform = down
    find(".marks").style.transform = `translate(${-area.scrollLeft}px, ${-area.scrollTop}px)`
  }
  const number = () => {
    const lines = area.value.split("\n").length
    if (state.lines !== lines) {
      state.lines = lines
      find(".numbers").textContent = Array.from({ length: lines }, (_, i) => i + 1).join("\n")
    }
  }
  const mark = () => {
    const lines = area.value.split("\n")
    find(".marks").replaceChildren()
    find(".signs").replaceChildren()
    for (const one of data.marks ?? []) {
      const text = lines[one.line - 1]
      // A mark belongs to the text it was made for; while somebody types on, it waits for the next answer.
      if (text === undefined || area.value !== state.sent) continue
      const top = `calc(${one.line - 1} * var(--line))`
      const row = document.createElement("div")
      row.className = one.kind
      row.style.top = top
      if (one.column) {
        const before = text.slice(0, one.column - 1)
        const there = text.slice(one.column - 1).match(/^(?:"[^"]*"?|「[^」]*」?|[\p{L}\p{N}_.\-]+|\S|\s+)/u)
        const under = document.createElement("u")
        under.textContent = there ? there[0] : "\u00a0\u00a0"
        row.append(document.createTextNode(before), under)
      }
      find(".marks").append(row)
      const sign = document.createElement("div")
      sign.className = one.kind
      sign.style.top = top
      sign.textContent = SIGNS[one.kind]
      find(".signs").append(sign)
    }
    area.setAttribute("aria-invalid", String((data.marks ?? []).some((one) => one.kind === "error")))
  }
  const comment = () => {
    const from = area.value.lastIndexOf("\n", area.selectionStart - 1) + 1
    const end = area.value.indexOf("\n", area.selectionEnd)
    const to = end < 0 ? area.value.length : end
    const lines = area.value.slice(from, to).split("\n")
    const off = lines.every((line) => /^\s*#/.test(line) || !line.trim())
    const turned = lines.map((line) => (off ? line.replace(/^(\s*)# ?/, "$1") : `# ${line}`)).join("\n")
    area.setRangeText(turned, from, to, "preserve")
    area.oninput()
  }
  const go = ({ line }) => {
    const lines = area.value.split("\n")
    const from = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0)
    area.focus()
    area.setSelectionRange(from, from + (lines[line - 1] ?? "").length)
    const height = parseFloat(getComputedStyle(area).lineHeight)
    area.scrollTop = Math.max(0, (line - 4) * height)
    area.scrollLeft = 0
    area.scrollIntoView({ block: "center" })
  }

  find(".label").textContent = data.label
  find(".hint").textContent = data.hint
  area.placeholder = data.placeholder
  area.lang = data.lang

  if (state.revision !== data.revision) {
    const first = state.revision === null
    state.revision = data.revision
    area.value = data.value
    state.sent = data.value
    let kept = null
    if (first && data.fresh) {
      try {
        kept = JSON.parse(sessionStorage.getItem(shelf) ?? "null")
      } catch {
        kept = null
      }
    }
    if (kept && kept.base === data.base && typeof kept.text === "string" && kept.text !== data.value) {
      area.value = kept.text
      send()
    } else {
      keep()
    }
  }
  area.oninput = () => {
    number()
    mark()
    scrolled()
    keep()
    clearTimeout(state.timer)
    state.timer = setTimeout(send, data.pause)
  }
  area.onblur = send
  area.onscroll = scrolled
  area.onkeydown = (event) => {
    if (!(event.ctrlKey || event.metaKey)) return
    if (event.key === "/") {
      event.preventDefault()
      comment()
    } else if (event.key === "Enter") {
      event.preventDefault()
      send()
    }
  }
  number()
  mark()
  scrolled()
  if (data.goto && state.went !== data.goto.turn) {
    state.went = data.goto.turn
    go(data.goto)
    scrolled()
  }
  return () => clearTimeout(state.timer)
}
