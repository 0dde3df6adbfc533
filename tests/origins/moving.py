"""A migration from moto while clients read, write and delete and our server is killed: at any size."""

import concurrent.futures
import random
import threading
import time

import botocore.exceptions

from ground import MIB, compare, described, holds, listed, refusal, same, until, upload
from provider_process import planted_body, planted_key
from reads import AWKWARD, noise

KILLS = 3
# Seconds between a client's requests.
PAUSE = 0.02
THREADS = 4
# Keys that clients work on, beside those that nobody touches: each by one thread alone, so that what it is is known.
WORKED_ON = 40


def large(mib):
    """A body that is made a MiB at a time."""
    block = noise(MIB, "large")
    return ((number.to_bytes(8, "big") + block[8:]) for number in range(mib))


def plant(provider, count, large_mib):
    """What stands at moto before, beside the small ones that are planted in its memory. Bytes by key."""
    s3 = provider.s3
    s3.create_bucket(Bucket="photos")
    provider.do("plant", count, "photos")
    bodies = {key: key.encode() for key in AWKWARD}
    for key, body in bodies.items():
        s3.put_object(Bucket="photos", Key=key, Body=body, Metadata={"name": "odd; \"value\", with=signs"})
    parts = [noise(5 * MIB, "one"), noise(6 * MIB, "two"), b"the end"]
    bodies["parts"] = b"".join(parts)
    upload(s3, "photos", "parts", parts, ContentType="video/mp4", CacheControl="max-age=1", Metadata={"of": "parts"})
    bodies["described"] = b"x"
    s3.put_object(Bucket="photos", Key="described", Body=b"x", ContentType="text/css; charset=utf-8",
                  ContentDisposition="attachment; filename=\"a b\"", ContentEncoding="gzip", ContentLanguage="de",
                  Expires="Wed, 02 Jan 2030 03:04:05 GMT", Metadata={"a": "b"})
    piece = max(5, large_mib // 16)
    blocks, pieces = large(large_mib), []
    for start in range(0, large_mib, piece):
        pieces.append(min(piece, large_mib - start))
    upload(s3, "photos", "large", (b"".join(next(blocks) for _ in range(size)) for size in pieces))
    return bodies


class Clients:
    """Threads that read, write and delete until they are stopped. What is acknowledged is what has to be there."""

    def __init__(self, ours, count, seed):
        self.ours = ours
        self.count = count
        self.stopped = threading.Event()
        self.resting = threading.Event()
        # The states that a key may be in: one, or two after a change whose answer did not come. None is deleted.
        self.states = {}
        self.done = {"read": 0, "written": 0, "deleted": 0, "unanswered": 0}
        self.lock = threading.Lock()
        self.pool = concurrent.futures.ThreadPoolExecutor(THREADS)
        self.runs = [self.pool.submit(self.run, thread, random.Random(f"{seed} {thread}")) for thread in range(THREADS)]

    def tally(self, word):
        with self.lock:
            self.done[word] += 1

    def run(self, thread, draw):
        # By its number, so that no two threads have a key in common.
        mine = list(range(thread, self.count, max(THREADS, self.count // WORKED_ON // THREADS * THREADS)))
        states = {planted_key(number): [planted_body(planted_key(number), number)] for number in mine}
        states |= {f"new/{thread}/{number}": [None] for number in range(5)}
        edition = 0
        while not self.stopped.is_set():
            key = draw.choice(list(states))
            what = draw.choice(["read", "read", "written", "written", "deleted"])
            edition += 1
            new = f"{key} {edition}".encode() * draw.choice([0, 1, 20_000]) if what == "written" else None
            try:
                if what == "read":
                    self.read(key, states[key])
                elif what == "written":
                    self.ours.s3.put_object(Bucket="photos", Key=key, Body=new, Metadata={"edition": str(edition)})
                    states[key] = [new]
                else:
                    self.ours.s3.delete_object(Bucket="photos", Key=key)
                    states[key] = [None]
                self.tally(what)
                time.sleep(PAUSE)  # What clients do between requests; else they have the provider for themselves.
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
                answer = getattr(error, "response", None)
                if answer and answer["ResponseMetadata"]["HTTPStatusCode"] != 503:
                    raise
                if what != "read":
                    states[key] = states[key] + [new]
                self.tally("unanswered")
                time.sleep(0.05)  # The server is away, or about to be: nothing tells when it is back.
        return states

    def read(self, key, may_be):
        try:
            body = self.ours.s3.get_object(Bucket="photos", Key=key)["Body"].read()
        except self.ours.s3.exceptions.NoSuchKey:
            body = None
        holds(f"{key!r} was read as {body and body[:60]}, which nobody has left there", body in may_be)

    def stop(self):
        self.stopped.set()
        for run in self.runs:
            self.states |= run.result()
        self.pool.shutdown()


def check(ground):
    count, large_mib = ground.given.objects, ground.given.large_mib
    provider = ground.provider()
    started = time.monotonic()
    bodies = plant(provider, count, large_mib)
    everything = count + len(bodies) + 1
    ours = ground.ours("")
    # Not declared: what is declared is not cut over by a command.
    ours.told("bucket", "create", "photos")
    (ours.folder / "secret").write_text("elsewhere-secret", "utf-8")
    ours.told("shadow", "set", "photos", "--endpoint", provider.endpoint, "--name", "photos", "--access-key", "elsewhere",
              "--secret-key-file", "secret", "--write-through=async", "--delete-through")
    begun = ours.told("migrate", "start", "photos", "--concurrency", 8, *rate(count, large_mib))
    same("what it does", begun["state"], "copying")
    clients = Clients(ours, count, "seed")
    for kill in range(KILLS):
        wanted = everything * (kill + 1) // (KILLS + 2)
        until(f"{wanted} of {everything} to be copied",
              lambda: ours.told("migrate", "status", "photos")["copied"]["objects"] >= wanted, 3600)
        ours.kill()
        ours.start()
    until("everything to be copied", lambda: ended(ours), 7200)
    copied_in = time.monotonic() - started
    clients.stop()
    view = ours.told("migrate", "status", "photos")
    holds(f"copied: {view}", view["state"] == "copied" and "failed" not in view["copied"]["tally"])
    ours.drained("photos")
    same("what waits", ours.waiting("photos"), (0, 0))
    code, told, _ = ours.ctl("migrate", "verify", "photos")
    same(f"verify ({told})", code, 0)
    view = ours.told("migrate", "status", "photos")
    tally = view["compared"]["tally"]
    holds(f"0 missing, 0 different: {tally}", not {"missing", "different"} & {k for k, v in tally.items() if v["objects"]})
    # Both sides have the same, and it is what clients were told.
    objects = compare(ours.s3, provider.s3, "photos", "photos", bodies=False)
    here = listed(ours.s3, "photos")
    for key, may_be in clients.states.items():
        if key not in here:
            holds(f"{key!r} is gone, and nobody deleted it", None in may_be)
            same(f"a deleted key, {key!r}", refusal(ours.s3.get_object, Bucket="photos", Key=key)[0], 404)
            continue
        for where, s3 in (("here", ours.s3), ("at moto", provider.s3)):
            body = s3.get_object(Bucket="photos", Key=key)["Body"].read()
            expected = [state and state[:60] for state in may_be]
            holds(f"{key!r} is {body[:60]} {where}, and not of {expected}", body in may_be)
    for number in range(0, count, max(1, count // 1000)):
        key = planted_key(number)
        if key not in clients.states:
            got = ours.s3.get_object(Bucket="photos", Key=key)
            holds(f"bytes of {key!r}", got["Body"].read() == planted_body(key, number))
    for key, body in bodies.items():
        got, there = (s3.get_object(Bucket="photos", Key=key) for s3 in (ours.s3, provider.s3))
        holds(f"bytes of {key!r}", got["Body"].read() == body)
        same(f"headers of {key!r}", described(got), described(there))
    reading = ours.s3.get_object(Bucket="photos", Key="large")["Body"]
    for number, block in enumerate(large(large_mib)):
        holds(f"MiB {number} of the large one", reading.read(MIB) == block)
    code, told, _ = ours.ctl("migrate", "cutover", "photos")
    same(f"cutover ({told})", code, 0)
    provider.end()
    same("a list without the provider", listed(ours.s3, "photos"), here)
    resident = ours.note_memory()
    # Objects are not kept in memory: what there is does not grow with them.
    holds(f"{resident // MIB} MiB were resident", resident < 256 * MIB)
    ours.stop()
    done = ", ".join(f"{many} {what}" for what, many in clients.done.items())
    return (f"{objects} objects, one of {large_mib} MiB, {KILLS} kills, meanwhile {done}: 0 missing, 0 different, both sides "
            f"the same; copied in {copied_in:.0f} s, {resident // MIB} MiB resident at most")


def ended(ours):
    view = ours.told("migrate", "status", "photos")
    holds(f"it stopped: {view.get('halted')}", not view.get("halted"))
    return view["state"] == "copied"


def rate(count, large_mib):
    """Of few objects, slowly, so that it can be killed meanwhile."""
    return [] if count > 5000 else ["--rate", f"{max(1, large_mib // 4)}MiB"]
