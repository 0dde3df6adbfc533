"""What is read through: objects that another provider has, before, while and after they are here."""

import datetime
import hashlib
import io

from ground import MIB, described, holds, listed, refusal, same, upload, word

AWKWARD = [
    "a b/ä+~é.txt", "100%25 sure%", "a//b", "ключ/日本", "trailing/", " leading", "plus+plus", "q?x=1&y=2", "hash#1",
    "quote'\"", "semi;colon=,", "back\\slash", "smile 😀", "$dollar@at!(x)*", "<tag>&amp;", "dots../..dots", "~tilde", "x" * 500,
]


def noise(size, seed):
    """`size` bytes that do not compress, the same for the same seed."""
    block = hashlib.sha256(seed.encode()).digest() * 128
    out = io.BytesIO()
    number = 0
    while out.tell() < size:
        out.write(hashlib.sha256(block[:32] + number.to_bytes(8, "big")).digest() + block)
        number += 1
    return out.getvalue()[:size]


def fill(s3, bucket):
    """Objects of every kind, as their bytes by key."""
    s3.create_bucket(Bucket=bucket)
    bodies = {"empty": b"", "small": b"small", "row": noise(200_000, "row"), "file": noise(600_000, "file")}
    for key in AWKWARD:
        bodies[key] = key.encode()
    for number in range(25):
        bodies[f"many/{number % 5}/{number:02}"] = str(number).encode()
    for key, body in bodies.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    bodies["described"] = b"body { color: red }"
    s3.put_object(
        Bucket=bucket, Key="described", Body=bodies["described"], ContentType="text/css; charset=utf-8",
        CacheControl="max-age=60", ContentDisposition="attachment; filename=\"a b.css\"", ContentEncoding="gzip",
        ContentLanguage="de, en", Expires=datetime.datetime(2030, 1, 2, 3, 4, 5),
        Metadata={"made-by": "check", "odd": "a, b;  c=\"d\"", "upper": "ÄÖ".encode("idna").decode()},
    )
    parts = [noise(5 * MIB, "one"), noise(6 * MIB, "two"), b"the end"]
    bodies["parts"] = b"".join(parts)
    upload(s3, bucket, "parts", parts, ContentType="video/mp4", Metadata={"of": "parts"})
    return bodies


def check(ground):
    provider = ground.provider()
    bodies = fill(provider.s3, "old")
    config = f'[bucket.photos]\nmode = "migrate"\n[bucket.photos.shadow]\n{provider.rule("old")}'
    config += f'[bucket.lost]\nmode = "migrate"\n[bucket.lost.shadow]\n{provider.rule("none")}'
    ours = ground.ours(config)
    code, told, _ = ours.ctl("shadow", "test", "photos")
    same(f"shadow test ({told})", code, 0)
    code, told, _ = ours.ctl("shadow", "test", "lost")
    holds(f"shadow test of a bucket that is not there: {code} {told}", code != 0 and "no bucket of that name" in told)
    ranges(ours.s3, provider, bodies)
    conditions(ours.s3, provider)
    lists(ours.s3, provider.s3)
    for key, body in bodies.items():
        there = provider.s3.head_object(Bucket="old", Key=key)
        cold = ours.s3.head_object(Bucket="photos", Key=key)
        same(f"HEAD of {key!r}", described(cold, "LastModified"), described(there, "LastModified"))
        provider.do("requests")
        for words in [("MISS", "JOINED", "HIT"), ("HIT",)]:
            got = ours.s3.get_object(Bucket="photos", Key=key)
            same(f"GET of {key!r}", described(got, "LastModified"), described(there, "LastModified"))
            holds(f"bytes of {key!r} differ", got["Body"].read() == body)
            holds(f"{key!r} was a {word(got)}", word(got) in words)
        asked = [line for line in provider.do("requests") if line.startswith("GET")]
        holds(f"{key!r} was fetched more than once: {asked}", len(asked) <= 1)
    for method in (ours.s3.get_object, ours.s3.head_object):
        same("a missing key", refusal(method, Bucket="photos", Key="none")[0], 404)
        same("a missing bucket", refusal(method, Bucket="lost", Key="none")[0], 424)
    merged(ours.s3, provider.s3, bodies)
    return f"{len(bodies)} objects, bytes and headers as moto has them"


def ranges(s3, provider, bodies):
    body = bodies["parts"]
    size = len(body)
    for first, last in [(0, 0), (5 * MIB - 1, 5 * MIB), (size - 5, size - 1), (size - 5, size + 100)]:
        got = s3.get_object(Bucket="photos", Key="parts", Range=f"bytes={first}-{last}")
        same("the status of a range", got["ResponseMetadata"]["HTTPStatusCode"], 206)
        end = min(last, size - 1)
        same("Content-Range", got["ContentRange"], f"bytes {first}-{end}/{size}")
        holds(f"bytes of {first}-{last} differ", got["Body"].read() == body[first : end + 1])
        same("the word of a cold range", word(got), "PASS")
    got = s3.get_object(Bucket="photos", Key="parts", Range="bytes=-7")
    same("a suffix", got["Body"].read(), b"the end")
    same("past the end", refusal(s3.get_object, Bucket="photos", Key="parts", Range=f"bytes={size}-")[0], 416)


def conditions(s3, provider):
    """On keys that are cold, at a provider whose own 304 and 412 we do not depend on."""
    head = provider.s3.head_object(Bucket="old", Key="file")
    etag, modified = head["ETag"], head["LastModified"]
    before, after = (modified + datetime.timedelta(seconds=by) for by in (-100, 100))
    rows = [
        ({"IfMatch": etag}, 200), ({"IfMatch": '"other"'}, 412), ({"IfNoneMatch": etag}, 304),
        ({"IfNoneMatch": '"other"'}, 200), ({"IfModifiedSince": before}, 200), ({"IfModifiedSince": after}, 304),
        ({"IfUnmodifiedSince": before}, 412), ({"IfUnmodifiedSince": after}, 200),
    ]
    for warm in (False, True):
        for number, (condition, status) in enumerate(rows):
            for method in (s3.head_object, s3.get_object):
                if status == 200:
                    got = method(Bucket="photos", Key="file", **condition)["ResponseMetadata"]["HTTPStatusCode"]
                else:
                    got = refusal(method, Bucket="photos", Key="file", **condition)[0]
                same(f"row {number} {condition}, warm: {warm}", got, status)
    same("If-Match of a missing key", refusal(s3.get_object, Bucket="photos", Key="none", IfMatch=etag)[0], 404)


def names(page):
    return [one["Key"] for one in page.get("Contents", [])], [one["Prefix"] for one in page.get("CommonPrefixes", [])]


def pages(s3, bucket, version, **arguments):
    """The whole list, by pages of three."""
    method = "list_objects" if version == 1 else "list_objects_v2"
    keys, prefixes = [], []
    for page in s3.get_paginator(method).paginate(Bucket=bucket, PaginationConfig={"PageSize": 3}, **arguments):
        holds("a page of more than was asked for", sum(map(len, names(page))) <= 3)
        keys += names(page)[0]
        prefixes += names(page)[1]
    return keys, prefixes


def lists(ours, theirs):
    """Nothing is here yet: the same list as the provider's."""
    for version in (1, 2):
        for arguments in [{}, {"Delimiter": "/"}, {"Prefix": "many/"}, {"Prefix": "many/", "Delimiter": "/"},
                          {"Prefix": "a"}, {"Delimiter": "s"}, {"Prefix": "none"}]:
            whole = names(theirs.list_objects_v2(Bucket="old", **arguments))
            same(f"V{version} {arguments}", pages(ours, "photos", version, **arguments), whole)
    same("start-after", names(ours.list_objects_v2(Bucket="photos", StartAfter="many/3/", Prefix="many/"))[0],
         names(theirs.list_objects_v2(Bucket="old", StartAfter="many/3/", Prefix="many/"))[0])
    same("sizes and ETags", listed(ours, "photos"), listed(theirs, "old"))


def merged(ours, theirs, bodies):
    """Some keys written here, some deleted."""
    expected = set(bodies)
    for key in ["many/0/new", "many/9/new", "aaa", "zzz/1", "small"]:
        ours.put_object(Bucket="photos", Key=key, Body=b"mine")
        expected.add(key)
    gone = [key for key in bodies if key.startswith("many/1/")] + ["empty", "parts"]
    ours.delete_objects(Bucket="photos", Delete={"Objects": [{"Key": key} for key in gone]})
    expected -= set(gone)
    for version in (1, 2):
        for prefix, delimiter in [("", ""), ("", "/"), ("many/", ""), ("many/", "/"), ("many/1/", ""), ("z", "/")]:
            keys, prefixes = set(), set()
            for key in expected:
                if key.startswith(prefix):
                    rest = key[len(prefix) :]
                    if delimiter and delimiter in rest:
                        prefixes.add(prefix + rest.split(delimiter)[0] + delimiter)
                    else:
                        keys.add(key)
            arguments = {"Prefix": prefix, "Delimiter": delimiter} if delimiter else {"Prefix": prefix}
            wanted = tuple(sorted(some, key=lambda text: text.encode()) for some in (keys, prefixes))
            same(f"merged V{version} {prefix!r} {delimiter!r}", pages(ours, "photos", version, **arguments), wanted)
    for key in gone:
        same(f"GET of {key!r}, deleted", refusal(ours.get_object, Bucket="photos", Key=key)[0], 404)
        theirs.head_object(Bucket="old", Key=key)
