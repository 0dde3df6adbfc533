// Bar charts of the numbers in a key, as PNG: /charts/600x200/3,1,4,-1.5.png
//
//	go run chart.go [port]
//
// At most as many are drawn at once as there are processors. Who waits for longer than five seconds is told to come back:
// busy is 503 with Retry-After, never 404.
package main

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log"
	"math"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const (
	numbersMax = 500
	waitMax    = 5 * time.Second
	// Part of every ETag: change it whenever the drawing changes.
	edition = "chart 1"
)

var (
	keyShape = regexp.MustCompile(`^([1-9][0-9]{1,3})x([1-9][0-9]{1,3})/(-?[0-9]{1,9}(?:\.[0-9]{1,6})?(?:,-?[0-9]{1,9}(?:\.[0-9]{1,6})?)*)\.png$`)
	palette  = color.Palette{color.White, color.RGBA{0x2b, 0x6c, 0xb0, 255}, color.RGBA{0xc5, 0x30, 0x30, 255}, color.Gray{0x88}}
	places   = make(chan struct{}, runtime.NumCPU())
)

type chart struct {
	width, height int
	numbers       []float64
}

// parse says false of keys that can never exist.
func parse(key string) (chart, bool) {
	found := keyShape.FindStringSubmatch(key)
	if found == nil {
		return chart{}, false
	}
	width, _ := strconv.Atoi(found[1])
	height, _ := strconv.Atoi(found[2])
	texts := strings.Split(found[3], ",")
	if width > 2000 || height > 1000 || len(texts) > numbersMax || len(texts) > width {
		return chart{}, false
	}
	numbers := make([]float64, len(texts))
	for i, text := range texts {
		numbers[i], _ = strconv.ParseFloat(text, 64)
	}
	return chart{width, height, numbers}, true
}

// draw stands the bars on a line at zero, negative ones hanging from it in red.
func (c chart) draw() ([]byte, error) {
	top, bottom := 0.0, 0.0
	for _, number := range c.numbers {
		top, bottom = math.Max(top, number), math.Min(bottom, number)
	}
	if top == bottom {
		top = 1
	}
	row := func(number float64) int {
		return int(math.Round((top - number) / (top - bottom) * float64(c.height-1)))
	}
	picture := image.NewPaletted(image.Rect(0, 0, c.width, c.height), palette)
	for i, number := range c.numbers {
		left, right := i*c.width/len(c.numbers), (i+1)*c.width/len(c.numbers)
		if right-left > 2 {
			right-- // A gap, where there is room for one.
		}
		from, to, ink := row(number), row(0), uint8(1)
		if number < 0 {
			from, to, ink = to, from, 2
		}
		for y := from; y <= to; y++ {
			for x := left; x < right; x++ {
				picture.SetColorIndex(x, y, ink)
			}
		}
	}
	for x := 0; x < c.width; x++ {
		picture.SetColorIndex(x, row(0), 3)
	}
	var out bytes.Buffer
	err := png.Encode(&out, picture)
	return out.Bytes(), err
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

func matches(header, etag string) bool {
	for _, tag := range strings.Split(header, ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag || tag == "*" {
			return true
		}
	}
	return false
}

func origin(w http.ResponseWriter, r *http.Request) {
	_, key, _ := strings.Cut(strings.TrimLeft(r.URL.Path, "/"), "/")
	if r.Method != "GET" && r.Method != "HEAD" {
		answer(w, 405, "this origin is only read\n")
		return
	}
	if key == "" {
		answer(w, 501, "this origin has no list\n")
		return
	}
	wanted, possible := parse(key)
	if !possible {
		// There can never be such an object; a bucket then asks no more.
		answer(w, 400, "a key is WIDTHxHEIGHT/NUMBER,NUMBER,….png, up to 2000x1000 and 500 numbers\n")
		return
	}
	// The picture follows from the key, the drawing and Go's encoder: so does its ETag, before anything is drawn.
	sum := sha256.Sum256([]byte(edition + runtime.Version() + key))
	etag := fmt.Sprintf("\"%x\"", sum[:16])
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.Header().Set("ETag", etag)
		w.WriteHeader(304)
		return
	}
	waited := time.NewTimer(waitMax)
	defer waited.Stop()
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-r.Context().Done():
		return // Nobody is waiting any more.
	case <-waited.C:
		w.Header().Set("Retry-After", "5")
		answer(w, 503, "busy\n")
		return
	}
	body, err := wanted.draw()
	if err != nil {
		log.Printf("%s: %v", key, err)
		answer(w, 500, "the chart could not be drawn\n")
		return
	}
	digest := md5.Sum(body)
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Content-MD5", base64.StdEncoding.EncodeToString(digest[:]))
	w.Header().Set("ETag", etag)
	w.Header().Set("Cache-Control", "public, max-age=86400")
	w.Write(body)
}

func main() {
	port := "8090"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(origin)))
}
