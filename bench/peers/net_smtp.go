// Go's standard library: html/template, mime/multipart, quotedprintable and net/smtp over one kept connection.
// `net_smtp FOLDER PORT COUNT` prints the seconds of CPU of this process for COUNT mails;
// `net_smtp FOLDER check COUNT` writes COUNT mails into the folder instead.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	htmltemplate "html/template"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
)

const warm = 200 // as in given.py

type recipient struct{ Address, Ref, Name string }

type given struct {
	FromName    string            `json:"from_name"`
	FromAddress string            `json:"from_address"`
	ListName    string            `json:"list_name"`
	ListDomain  string            `json:"list_domain"`
	LeaveURL    string            `json:"leave_url"`
	Keys        map[string]string `json:"keys"`
	Recipients  []recipient       `json:"recipients"`
	Date        string            `json:"date"`
	Subject     string            `json:"subject"`
	Text        string            `json:"text"`
	HTML        string            `json:"html"`
}

type values struct{ Name, Track, Leave, Preferences string }

type mailer struct {
	given   given
	keys    map[string][]byte
	subject *template.Template
	text    *template.Template
	html    *htmltemplate.Template
}

func newMailer(g given) *mailer {
	slots := strings.NewReplacer("{name}", "{{.Name}}", "{track}", "{{.Track}}", "{leave}", "{{.Leave}}",
		"{preferences}", "{{.Preferences}}")
	m := &mailer{given: g, keys: map[string][]byte{}}
	for purpose, key := range g.Keys {
		decoded, err := hex.DecodeString(key)
		fatal(err)
		m.keys[purpose] = decoded
	}
	m.subject = template.Must(template.New("subject").Parse(slots.Replace(g.Subject)))
	m.text = template.Must(template.New("text").Parse(slots.Replace(g.Text)))
	m.html = htmltemplate.Must(htmltemplate.New("html").Parse(slots.Replace(g.HTML)))
	return m
}

func (m *mailer) token(purpose, text string) string {
	mac := hmac.New(sha256.New, m.keys[purpose])
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

func (m *mailer) build(r recipient, out *bytes.Buffer) {
	g := m.given
	leave := m.token("leave", r.Ref)
	v := values{Name: r.Name, Track: m.token("track", r.Ref), Leave: g.LeaveURL + leave, Preferences: g.LeaveURL + "preferences/" + leave}
	if v.Name == "" {
		v.Name = "you"
	}
	var subject strings.Builder
	fatal(m.subject.Execute(&subject, v))
	parts := multipart.NewWriter(out)
	fmt.Fprintf(out, "From: %s <%s>\r\nTo: %s\r\n", g.FromName, g.FromAddress, r.Address)
	fmt.Fprintf(out, "Subject: %s\r\nDate: %s\r\n", mime.QEncoding.Encode("utf-8", subject.String()), g.Date)
	fmt.Fprintf(out, "Message-ID: <%s@%s>\r\n", m.token("message", r.Ref), g.ListDomain)
	fmt.Fprintf(out, "List-Unsubscribe: <%s>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", v.Leave)
	fmt.Fprintf(out, "List-Id: %s <%s>\r\nMIME-Version: 1.0\r\n", g.ListName, g.ListDomain)
	fmt.Fprintf(out, "Content-Type: multipart/alternative; boundary=%q\r\n\r\n", parts.Boundary())
	part(parts, "text/plain; charset=utf-8", func(w io.Writer) error { return m.text.Execute(w, v) })
	part(parts, "text/html; charset=utf-8", func(w io.Writer) error { return m.html.Execute(w, v) })
	fatal(parts.Close())
}

func part(parts *multipart.Writer, kind string, fill func(io.Writer) error) {
	header := textproto.MIMEHeader{"Content-Type": {kind}, "Content-Transfer-Encoding": {"quoted-printable"}}
	w, err := parts.CreatePart(header)
	fatal(err)
	encoded := quotedprintable.NewWriter(w)
	fatal(fill(encoded))
	fatal(encoded.Close())
}

func (m *mailer) check(folder string, count int) {
	for n, r := range m.given.Recipients[:count] {
		var out bytes.Buffer
		m.build(r, &out)
		fatal(os.WriteFile(filepath.Join(folder, strconv.Itoa(n)+".eml"), out.Bytes(), 0o644))
	}
}

func (m *mailer) send(port string, recipients []recipient) {
	client, err := smtp.Dial("127.0.0.1:" + port)
	fatal(err)
	var out bytes.Buffer
	for _, r := range recipients {
		out.Reset()
		m.build(r, &out)
		fatal(client.Mail(m.given.FromAddress))
		fatal(client.Rcpt(r.Address))
		w, err := client.Data()
		fatal(err)
		_, err = w.Write(out.Bytes())
		fatal(err)
		fatal(w.Close())
	}
	fatal(client.Quit())
}

func cpu() float64 {
	var used syscall.Rusage
	fatal(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return float64(used.Utime.Sec+used.Stime.Sec) + float64(used.Utime.Usec+used.Stime.Usec)/1e6
}

func fatal(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	folder, port := os.Args[1], os.Args[2]
	count, err := strconv.Atoi(os.Args[3])
	fatal(err)
	data, err := os.ReadFile(filepath.Join(folder, "given.json"))
	fatal(err)
	var g given
	fatal(json.Unmarshal(data, &g))
	m := newMailer(g)
	if port == "check" {
		m.check(folder, count)
		return
	}
	m.send(port, g.Recipients[count:count+warm])
	before := cpu()
	newMailer(g).send(port, g.Recipients[:count])
	fmt.Println(cpu() - before)
}
