#!/usr/bin/env bash
# A whole origin: /any-bucket/hello falls through to here.  bash hello.sh [port]
# bash cannot listen. socat does, and runs this once for each connection; so would inetd or a socket of systemd's.
[ $# -eq 0 ] || exec socat "TCP-LISTEN:$1,bind=127.0.0.1,reuseaddr,fork,max-children=64" "EXEC:bash $0"
export LC_ALL=C # so that lengths are in bytes

answer() { # status, body
  printf 'HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %s\r\n\r\n' "$1" "${#2}"
  [ "$method" = HEAD ] || printf %s "$2"
}

while read -r -t 75 method target _; do
  while IFS= read -r -t 75 line && [ -n "${line%$'\r'}" ]; do :; done
  path=${target%%\?*} key=
  case $path in /*/*) key=${path#/*/} ;; esac
  # Decoded once. A backslash is part of the name, and must not reach printf as the beginning of an escape.
  key=${key//\\/\\\\}
  printf -v decoded %b "${key//%/\\x}"
  case $method in GET | HEAD) ;; *) answer '405 Method Not Allowed' $'this origin is only read\n'; exit ;; esac
  case $key in
    '') answer '501 Not Implemented' $'this origin has no list\n' ;;
    *%00*) answer '400 Bad Request' $'a key without NUL, please: bash cannot hold one\n' ;;
    *) case $decoded in
      hello) answer '200 OK' $'hello, world\n' ;;
      *) answer '404 Not Found' $'no such key\n' ;;
    esac ;;
  esac
done
