#!/usr/bin/env bash
# try.sh SERVER: starts the server on a free port, asks it for everything by curl, and stops it. Prints what was not as
# expected, and ends with status 1 if anything was.
set -euo pipefail
server=$1
folder=$(mktemp -d)
trap 'kill -9 "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
failed=0

# start [OPTION...]: a server over the same directory as before. Sets pid, url and chunk.
start() {
    : >log # here, and not by the server's shell, which may be late
    "$server" --port 0 --directory files --chunk-bytes 4096 "$@" >>log 2>&1 &
    pid=$!
    for ((i = 0; i < 3000; i++)); do
        if url=$(sed -n 's|^listening on \(http://.*\)$|\1|p' log) && [ -n "$url" ]; then
            chunk=$url/chunks/my-model@00000000@0000@0
            return
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.02
    done
    echo "the server does not start:"
    cat log
    exit 1
}

# ended: how the server ends, in bounded time, after a signal.
ended() {
    local status=0
    timeout 60 tail --pid="$pid" -f /dev/null || { echo "still there 60 s after a signal"; failed=1; kill -9 "$pid"; }
    wait "$pid" || status=$?
    [ "$status" = 0 ] || { echo "ended with status $status"; cat log; failed=1; }
    grep -q ' chunks stored, .* found for those who asked$' log || { echo "it does not say what it did:"; cat log; failed=1; }
}

# expect STATUS PATTERN CURL-ARGUMENT...: what curl is answered; the body is in ./body.
expect() {
    local status=$1 pattern=$2 got
    shift 2
    got=$(curl --silent --show-error --max-time 60 --output body --write-out '%{http_code}' "$@") || got="none ($?)"
    if [ "$got" != "$status" ] || ! grep -aqE "$pattern" body; then
        echo "curl $*"
        echo "  status $got; expected $status, and a body like $pattern:"
        head -c 300 body | tr -cd '[:print:]\n'
        echo
        failed=1
    fi
}

same() { cmp -s "$1" "$2" || { echo "$1 and $2 differ"; failed=1; }; }

head -c 4096 /dev/urandom >one
head -c 4096 /dev/urandom >two
json=(--header 'Content-Type: application/json')

start
expect 201 '^\{"stored":"my-model@00000000@0000@01"\}$' --upload-file one "${chunk}1"
expect 201 '"my-model@00000000@0000@02"' --upload-file two "${chunk}2"
expect 200 '' "${chunk}1"
same one body
expect 201 '"stored"' --upload-file two "${chunk}3"
expect 201 '"stored"' --upload-file one "${chunk}3" # replaced
expect 200 '' "${chunk}3"
same one body
expect 201 '"stored"' --header 'Expect: 100-continue' --upload-file one "${chunk}1"

expect 404 '"error":"there is no chunk my-model@00000000@0000@09"' "${chunk}9"
expect 400 '"error":".*is no key; expected model@rank@group@hash' "$url/chunks/what"
expect 400 '"error":"the body has 100 bytes; expected 4096' --data-binary @<(head -c 100 one) --request PUT "${chunk}4"
expect 413 '"error":"the body has 8192 bytes; expected at most 4096"' --data-binary @<(cat one two) --request PUT "${chunk}4"
expect 411 '"error":".*Content-Length' --header 'Transfer-Encoding: chunked' --upload-file one "${chunk}4"
expect 404 '"error"' "${chunk}4" # nothing of all that was kept
expect 405 '"error":"a chunk takes GET and PUT"' --request DELETE "${chunk}1"
expect 405 '"error":"/prefetch takes POST"' "$url/prefetch"
expect 404 '"error":"there is no /else; expected /chunks/KEY' "$url/else"
expect 400 '"error":"the body is not as expected' "${json[@]}" --data '{"keys"' "$url/prefetch"
expect 400 '"error":"a key is 7; expected a string"' "${json[@]}" --data '{"keys": [7]}' "$url/prefetch"
expect 400 '"error":".*twice' "${json[@]}" --data '{"keys": ["m@00000000@0000@01", "m@00000000@0000@01"]}' "$url/prefetch"
expect 200 '"prefix_hits":0' "${json[@]}" --data '{"keys": []}' "$url/prefetch"
expect 413 '"error":"the body has 2000000 bytes' --data-binary @<(head -c 2000000 /dev/zero) "$url/prefetch"
expect 400 '"error":"this is no HTTP request' --request $'GE\x01T' "$url/status"

keys='{"keys": ["my-model@00000000@0000@01", "my-model@00000000@0000@02", "my-model@00000000@0000@03", "my-model@00000000@0000@04"]}'
expect 200 '"from_below":0,"from_memory":3,"prefix_hits":3' "${json[@]}" --data "$keys" "$url/prefetch"
expect 200 '"resident_objects": 3' "$url/status"
expect 200 '^terrace_l1_resident_objects 3$' "$url/metrics"
expect 405 '"error":"/metrics takes GET"' --request POST --data x "$url/metrics"
kill -TERM "$pid"
ended

# Another server over the same files.
start
expect 200 '"from_below":3,"from_memory":0,"prefix_hits":3' "${json[@]}" --data "$keys" "$url/prefetch"
expect 200 '"from_below":0,"from_memory":3,"prefix_hits":3' "${json[@]}" --data "$keys" "$url/prefetch"
expect 200 '' "$url/chunks/my-model@00000000@0000@02"
same two body

# begin_put KEY: a PUT of which half has been sent, on descriptor 3; the server is staging it.
begin_put() {
    exec 3<>"/dev/tcp/127.0.0.1/${url##*:}"
    printf 'PUT /chunks/%s HTTP/1.1\r\nHost: here\r\nContent-Length: 4096\r\n\r\n' "$1" >&3
    head -c 2048 one >&3
    wait_for '"staged_objects": 1'
}

# wait_for PATTERN: until the status is like it.
wait_for() {
    for ((i = 0; i < 1000; i++)); do
        if curl --silent --max-time 60 "$url/status" | grep -q "$1"; then return; fi
        sleep 0.02
    done
    echo "the status is never like $1"
    failed=1
}

# A client that goes away half way leaves nothing.
begin_put my-model@00000000@0000@05
expect 404 '"error"' "${chunk}5"
exec 3>&-
wait_for '"staged_objects": 0'
expect 404 '"error"' "${chunk}5"

# A request that is being answered is answered, although the server is to end. A connection that is open and silent does
# not keep it.
exec 4<>"/dev/tcp/127.0.0.1/${url##*:}"
begin_put my-model@00000000@0000@06
kill -INT "$pid"
while curl --silent --output /dev/null "$url/status"; do sleep 0.02; done # it accepts no more
head -c 2048 one >&3
read -r -t 60 answered <&3 || answered=nothing
[[ $answered == 'HTTP/1.1 201 Created'* ]] || { echo "the last request was answered by: $answered"; failed=1; }
ended
exec 3>&- 4>&-
exit "$failed"
