// A whole origin: /any-bucket/hello falls through to here.  go run hello.go [port]
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
)

func origin(w http.ResponseWriter, r *http.Request) {
	status, body := 404, "no such key\n"
	_, key, _ := strings.Cut(strings.TrimLeft(r.URL.Path, "/"), "/")
	switch {
	case r.Method != "GET" && r.Method != "HEAD":
		status, body = 405, "this origin is only read\n"
	case key == "":
		status, body = 501, "this origin has no list\n"
	case key == "hello":
		status, body = 200, "hello, world\n"
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	fmt.Fprint(w, body) // Nothing of it is sent to HEAD.
}

func main() {
	port := "8090"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	// No ServeMux: it redirects `..` and `//`, which are part of a key's name.
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(origin)))
}
