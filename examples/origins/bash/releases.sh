#!/usr/bin/env bash
# The tags of a git repository as archives: /releases/v1.2.0.tar.gz
#
#     REPOSITORY=/srv/project.git bash releases.sh [port]
#
# bash cannot listen: socat does, and runs this once for each connection. An archive is made wholly before a byte of it is
# sent: HTTP tells first whether it went well, and a program last. The bucket in front keeps it, so that is once per tag.
set -o pipefail
: "${REPOSITORY:?name a git repository in it}"
# git would look in the folders above as well, and another repository's tags say nothing of this one's.
GIT_CEILING_DIRECTORIES=$(dirname -- "$(realpath -m -- "$REPOSITORY")") || exit
export GIT_CEILING_DIRECTORIES
[ $# -eq 0 ] || exec socat "TCP-LISTEN:$1,bind=127.0.0.1,reuseaddr,fork,max-children=16" "EXEC:bash $0"
export LC_ALL=C # so that lengths are in bytes
archive=$(mktemp) || exit
trap 'rm -f "$archive"' EXIT

head_of() { # status, length in bytes, further headers
  printf 'HTTP/1.1 %s\r\nContent-Length: %s\r\n' "$1" "$2"
  shift 2
  printf '%s\r\n' "$@" ''
}

answer() { # status, body, further headers
  local status=$1 body=$2
  shift 2
  head_of "$status" "${#body}" 'Content-Type: text/plain' "$@"
  [ "$method" = HEAD ] || printf %s "$body"
}

release() { # key, the ETags that the bucket has
  local tag=${1%.tar.gz} commit etag
  if ! [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}\.tar\.gz$ ]] || [[ $tag == *..* ]]; then
    # There can never be such an object; a bucket then asks no more.
    answer '400 Bad Request' $'a key is a tag and .tar.gz\n'
    return
  fi
  git -C "$REPOSITORY" show-ref --quiet --verify "refs/tags/$tag"
  case $? in
    0) ;;
    1) answer '404 Not Found' $'no such tag\n'; return ;;
    # git itself failed, and knows nothing of the tag: that is no absence.
    *) answer '503 Service Unavailable' $'the repository cannot be read\n' 'Retry-After: 30'; return ;;
  esac
  if ! commit=$(git -C "$REPOSITORY" rev-parse --quiet --verify "refs/tags/$tag^{commit}"); then
    answer '500 Internal Server Error' $'the tag leads to no commit that can be read\n'
    return
  fi
  etag="\"$commit\""
  if [[ $2 == *"$etag"* ]]; then
    printf 'HTTP/1.1 304 Not Modified\r\nETag: %s\r\n\r\n' "$etag"
    return
  fi
  # The dates in it are the commit's, and gzip -n adds none: the same commit gives the same bytes.
  if ! git -C "$REPOSITORY" archive --format=tar --prefix="$tag/" "$commit" | gzip -n >"$archive"; then
    answer '500 Internal Server Error' $'the archive could not be made\n'
    return
  fi
  head_of '200 OK' "$(stat -c %s "$archive")" 'Content-Type: application/gzip' "ETag: $etag"
  [ "$method" = HEAD ] || cat "$archive"
}

while read -r -t 75 method target _; do
  known=
  while IFS= read -r -t 75 line && line=${line%$'\r'} && [ -n "$line" ]; do
    case ${line,,} in if-none-match:*) known=${line#*:} ;; esac
  done
  path=${target%%\?*} key=
  case $path in /*/*) key=${path#/*/} ;; esac
  key=${key//\\/\\\\}
  printf -v decoded %b "${key//%/\\x}"
  case $method in GET | HEAD) ;; *) answer '405 Method Not Allowed' $'this origin is only read\n'; exit ;; esac
  case $key in
    '') answer '501 Not Implemented' $'this origin has no list\n' ;;
    *%00*) answer '400 Bad Request' $'a key is a tag and .tar.gz\n' ;;
    *) release "$decoded" "$known" ;;
  esac
done
