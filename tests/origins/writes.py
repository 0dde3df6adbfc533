"""What is written through: changes made here, and another provider that has to become the same."""

import re

from ground import MIB, compare, holds, refusal, same, until, upload, word
from reads import AWKWARD, noise


def bucket_with(provider, name, more):
    return f'[bucket.{name}]\nmode = "migrate"\n[bucket.{name}.shadow]\n{provider.rule(name, more)}'


def change(ours, theirs, bucket):
    """One of everything that changes an object. The keys that were there before and the provider wrote: `before/…`."""
    s3 = ours.s3
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    s3.put_object(Bucket=bucket, Key="small", Body=b"first")
    s3.put_object(Bucket=bucket, Key="small", Body=b"second")
    s3.put_object(Bucket=bucket, Key="file", Body=noise(700_000, "file"))
    for key in AWKWARD:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    s3.put_object(
        Bucket=bucket, Key="described", Body=b"x", ContentType="text/css", CacheControl="max-age=60",
        ContentDisposition="attachment; filename=\"a b.css\"", ContentEncoding="gzip", ContentLanguage="de",
        Expires="Wed, 02 Jan 2030 03:04:05 GMT", Metadata={"made-by": "check", "odd": "a, b; c=\"d\""},
        Tagging="team=red&with%20space=a%2Bb",
    )
    parts = [noise(5 * MIB, "one"), noise(5 * MIB, "two"), b"the end"]
    upload(s3, bucket, "parts", parts, ContentType="video/mp4", Metadata={"of": "parts"})
    s3.copy_object(Bucket=bucket, Key="copies/small", CopySource={"Bucket": bucket, "Key": "small"})
    s3.copy_object(Bucket=bucket, Key="copies/cold", CopySource={"Bucket": bucket, "Key": "before/copied"})
    s3.copy_object(
        Bucket=bucket, Key="small", CopySource={"Bucket": bucket, "Key": "small"}, MetadataDirective="REPLACE",
        Metadata={"now": "other"}, ContentType="text/plain",
    )
    s3.put_object_tagging(Bucket=bucket, Key="file", Tagging={"TagSet": [{"Key": "later", "Value": "ü"}]})
    s3.put_object_tagging(Bucket=bucket, Key="before/tagged", Tagging={"TagSet": [{"Key": "by", "Value": "us"}]})
    s3.put_object(Bucket=bucket, Key="before/overwritten", Body=b"ours")
    s3.delete_object(Bucket=bucket, Key="before/deleted")
    s3.delete_object(Bucket=bucket, Key="never/there")
    s3.put_object(Bucket=bucket, Key="gone", Body=b"gone")
    batch = [{"Key": "gone"}, {"Key": "before/deleted too"}, {"Key": AWKWARD[0]}]
    same("errors of a batch", s3.delete_objects(Bucket=bucket, Delete={"Objects": batch}).get("Errors", []), [])


def before(provider, bucket):
    provider.s3.create_bucket(Bucket=bucket)
    for name in ["copied", "tagged", "overwritten", "deleted", "deleted too", "kept"]:
        provider.s3.put_object(Bucket=bucket, Key=f"before/{name}", Body=name.encode(), Metadata={"was": name})


def check(ground):
    provider = ground.provider()
    ways = ["async", "sync"]
    for way in ways:
        before(provider, way)
    config = "".join(
        bucket_with(provider, way, f'write-through = "{way}"\ndelete-through = true') for way in ways
    )
    ours = ground.ours(config)
    counts = []
    for way in ways:
        change(ours, provider, way)
        ours.drained(way)
        same(f"{way}: what waits", ours.waiting(way), (0, 0))
        for key in ["gone", "before/deleted", "before/deleted too", AWKWARD[0]]:
            same(f"{way}: {key!r} at moto", refusal(provider.s3.head_object, Bucket=way, Key=key)[0], 404)
        counts.append(compare(ours.s3, provider.s3, way, way))
        parts = provider.s3.head_object(Bucket=way, Key="parts")
        holds("an object of parts is one at moto", parts["ETag"].endswith('-3"'))
        same("uploads left at moto", provider.s3.list_multipart_uploads(Bucket=way).get("Uploads", []), [])
    # A write whose answer is there is at the provider already, if it is sync.
    ours.s3.put_object(Bucket="sync", Key="now", Body=b"now")
    same("a sync write at moto", provider.s3.get_object(Bucket="sync", Key="now")["Body"].read(), b"now")
    return f"{counts[0]} objects written async and {counts[1]} sync: both sides are the same"


def conditions(ground):
    """Somebody else changes what we write to: moto honours conditions of PUT and DELETE, not If-Match of a completion."""
    provider = ground.provider()
    policies = ["fail", "local", "origin"]
    for policy in policies:
        provider.s3.create_bucket(Bucket=policy)
    through = 'write-through = "async"\ndelete-through = true\nwrite-conflict = "{}"'
    provider.s3.create_bucket(Bucket="sync")
    sync = bucket_with(provider, "sync", 'write-through = "sync"')
    config = "".join(bucket_with(provider, policy, through.format(policy)) for policy in policies)
    ours = ground.ours(config + sync)
    # What moto itself does, without us.
    there = provider.s3
    there.put_object(Bucket="sync", Key="probe", Body=b"1")
    for condition in [{"IfMatch": '"other"'}, {"IfNoneMatch": "*"}]:
        said = refusal(there.put_object, Bucket="sync", Key="probe", Body=b"2", **condition)[0]
        same(f"what moto says to {condition}", said, 412)
    there.delete_object(Bucket="sync", Key="probe")
    for policy, (at_moto, here, dead) in zip(
        policies, [(b"theirs", b"ours", 1), (b"ours", b"ours", 0), (b"theirs", b"theirs", 0)]
    ):
        ours.s3.put_object(Bucket=policy, Key="k", Body=b"first")
        ours.drained(policy)
        there.put_object(Bucket=policy, Key="k", Body=b"theirs")
        ours.s3.put_object(Bucket=policy, Key="k", Body=b"ours")
        ours.drained(policy)
        same(f"{policy}: dead", ours.waiting(policy)[1], dead)
        same(f"{policy}: at moto", there.get_object(Bucket=policy, Key="k")["Body"].read(), at_moto)
        same(f"{policy}: here", ours.s3.get_object(Bucket=policy, Key="k")["Body"].read(), here)
        # A cold key that somebody makes just before us.
        ours.s3.put_object(Bucket=policy, Key="d", Body=b"first")
        ours.drained(policy)
        there.put_object(Bucket=policy, Key="d", Body=b"theirs")
        ours.s3.delete_object(Bucket=policy, Key="d")
        ours.drained(policy)
        status = {"fail": 200, "local": 404, "origin": 200}[policy]
        got = 200 if "d" in names(there, policy) else 404
        same(f"{policy}: a delete of what somebody changed", got, status)
        # moto passes over If-Match of a completion: what is there is asked for first.
        ours.s3.put_object(Bucket=policy, Key="parts", Body=b"first")
        ours.drained(policy)
        there.put_object(Bucket=policy, Key="parts", Body=b"theirs")
        upload(ours.s3, policy, "parts", [noise(5 * MIB, policy), b"the end"])
        ours.drained(policy)
        tag = there.head_object(Bucket=policy, Key="parts")["ETag"]
        holds(f"{policy}: an object of parts over somebody's: {tag}", tag.endswith('-2"') == (policy == "local"))
    told = ours.told("shadow", "waiting", "fail")
    holds(f"the reason of a dead letter: {told}", "somebody else has changed it" in str(told))
    ours.told("shadow", "drop", "fail", "--dead")
    same("what waits after it was dropped", ours.waiting("fail"), (0, 0))
    there.put_object(Bucket="sync", Key="k", Body=b"theirs")
    ours.s3.get_object(Bucket="sync", Key="k")["Body"].read()
    there.put_object(Bucket="sync", Key="k", Body=b"theirs again")
    same("a sync write", refusal(ours.s3.put_object, Bucket="sync", Key="k", Body=b"ours")[0], 412)
    # Of a client's own conditions on a cold key.
    there.put_object(Bucket="local", Key="cold", Body=b"cold")
    for condition, status in [({"IfNoneMatch": "*"}, 412), ({"IfMatch": '"other"'}, 412)]:
        said = refusal(ours.s3.put_object, Bucket="local", Key="cold", Body=b"x", **condition)[0]
        same(f"a cold key, {condition}", said, status)
    etag = there.head_object(Bucket="local", Key="cold")["ETag"]
    ours.s3.put_object(Bucket="local", Key="cold", Body=b"on its condition", IfMatch=etag)
    ours.drained("local")
    same("then", there.get_object(Bucket="local", Key="cold")["Body"].read(), b"on its condition")
    same("unguarded writes", ours.metric("fallthrough_shadow_writes_total", 'outcome="unguarded"'), 0)
    return "moto honours If-Match and If-None-Match of PUT and DELETE; conflicts end as each rule says"


def names(s3, bucket):
    return [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def outage(ground):
    """moto goes away, hangs, and comes back, with what it had."""
    provider = ground.provider()
    provider.s3.create_bucket(Bucket="photos")
    for name in ["hot", "cold", "deleted"]:
        provider.s3.put_object(Bucket="photos", Key=name, Body=name.encode())
    config = bucket_with(provider, "photos", 'write-through = "async"\ndelete-through = true')
    ours = ground.ours(config + '[fill]\nclient-wait = "2s"\n')
    s3 = ours.s3
    s3.get_object(Bucket="photos", Key="hot")["Body"].read()
    provider.do("stop")
    got = s3.get_object(Bucket="photos", Key="hot")
    same("what is here", (got["Body"].read(), word(got)), (b"hot", "HIT"))
    for method in (s3.get_object, s3.head_object):
        status, _, headers = refusal(method, Bucket="photos", Key="cold")
        same("a cold key", status, 503)
        holds("Retry-After", int(headers["retry-after"]) >= 1)
    same("a list", refusal(s3.list_objects_v2, Bucket="photos")[0], 503)
    # Writes and deletes go on, and the last of each key is what has to arrive.
    for round_ in range(4):
        for number in range(10):
            s3.put_object(Bucket="photos", Key=f"w/{number}", Body=f"{round_}".encode())
    s3.delete_object(Bucket="photos", Key="deleted")
    s3.delete_object(Bucket="photos", Key="w/9")
    same("a deleted key", refusal(s3.get_object, Bucket="photos", Key="deleted")[0], 404)
    pending, dead = ours.waiting("photos")
    # One for each key that was written, the one deleted since among them, and one for the key that moto has.
    same("what waits, and what is dead", (pending, dead), (11, 0))
    until("the lag to be shown", lambda: ours.metric("fallthrough_shadow_write_lag_seconds") > 0)
    same("pending by metric", ours.metric("fallthrough_shadow_write_pending"), pending)
    holds("since when it waits", ours.told("shadow", "get", "photos")["waiting"]["since"])
    # Killed meanwhile: what waits is kept.
    ours.kill()
    ours.start()
    same("what waits after a kill", ours.waiting("photos"), (pending, 0))
    s3 = ours.s3
    provider.do("requests")
    provider.do("start")
    ours.drained("photos")
    sent = [line for line in provider.do("requests") if re.match("PUT|DELETE", line)]
    for number in range(9):
        same(f"w/{number} at moto", provider.s3.get_object(Bucket="photos", Key=f"w/{number}")["Body"].read(), b"3")
        times = sum(1 for line in sent if f"/w/{number}" in line)
        same(f"how often w/{number} was sent", times, 1)
    until("cold keys to come again", lambda: attempt(s3, "cold") == b"cold")
    until("the lag to go", lambda: ours.metric("fallthrough_shadow_write_lag_seconds") == 0)
    compare(s3, provider.s3, "photos", "photos")
    # Hanging is no failure yet: who waits too long is told to come back, and finds it.
    provider.s3.put_object(Bucket="photos", Key="later", Body=b"later")
    provider.do("hang")
    status, _, headers = refusal(s3.get_object, Bucket="photos", Key="later")
    same("a provider that hangs", (status, "retry-after" in headers), (503, True))
    s3.put_object(Bucket="photos", Key="w/0", Body=b"while it hangs")
    provider.do("go")
    until("the fill to end", lambda: attempt(s3, "later") == b"later")
    ours.drained("photos")
    same("after it hung", provider.s3.get_object(Bucket="photos", Key="w/0")["Body"].read(), b"while it hangs")
    return "503 while moto is away, reads and writes of what is here go on, everything arrives, once and in order"


def attempt(s3, key):
    try:
        return s3.get_object(Bucket="photos", Key=key)["Body"].read()
    except s3.exceptions.ClientError as error:
        same("while it comes back", error.response["ResponseMetadata"]["HTTPStatusCode"], 503)
        return None
