"""Uses a server as redis-py's users do. Its one argument is the port; it prints what it finds at the end."""

import sys
import threading

import redis

PORT = int(sys.argv[1])


def use(client):
    client.flushall()
    assert client.ping()
    assert client.set("greeting", "hello", ex=10)
    assert client.get("greeting") == "hello" and 0 < client.ttl("greeting") <= 10
    assert client.incr("n", 41) == 41 and client.incr("n") == 42

    assert client.hset("user", mapping={"name": "ann", "age": "41"}) == 2
    assert client.hincrby("user", "age") == 42
    assert client.hgetall("user") == {"name": "ann", "age": "42"}
    assert client.hmget("user", "name", "none") == ["ann", None]
    assert dict(client.hscan_iter("user")) == {"name": "ann", "age": "42"}

    assert client.sadd("one", "a", "b", "c") == 3 and client.sadd("two", "b", "c", "d") == 3
    assert client.smembers("one") == {"a", "b", "c"}
    assert client.sinter("one", "two") == {"b", "c"}
    assert client.sismember("one", "a") and not client.sismember("one", "x")

    client.mset({f"key:{i}": i for i in range(1000)})
    assert len(set(client.scan_iter("key:*", count=7))) == 1000
    assert client.delete(*[f"key:{i}" for i in range(1000)]) == 1000

    # A pipeline is a transaction by default.
    assert client.pipeline().set("a", 1).incr("a").rpush("list", "x", "y").execute() == [True, 2, 2]
    other = redis.Redis(port=PORT, decode_responses=True)

    def add_one(pipe):
        value = int(pipe.get("a"))
        if value == 2:
            other.set("a", 10)
        pipe.multi()
        pipe.set("a", value + 1)

    client.transaction(add_one, "a")
    assert client.get("a") == "11", client.get("a")
    assert client.blpop(["none", "list"], timeout=1) in [("list", "x"), ["list", "x"]]
    assert client.blpop("none", timeout=0.1) is None

    listener = client.pubsub()
    listener.psubscribe("news.*")
    listener.subscribe("sport")
    confirmed = [listener.get_message(timeout=5)["type"] for _ in range(2)]
    assert confirmed == ["psubscribe", "subscribe"], confirmed
    publisher = threading.Thread(
        target=lambda: (other.publish("news.local", "one"), other.publish("sport", "two"))
    )
    publisher.start()
    heard = [listener.get_message(timeout=5) for _ in range(2)]
    publisher.join()
    assert [m["data"] for m in heard] == ["one", "two"], heard
    assert heard[0]["pattern"] == "news.*" and heard[0]["channel"] == "news.local"
    listener.close()

    try:
        client.lpush("user", "x")
        raise AssertionError("a hash took an element of a list")
    except redis.ResponseError as error:
        assert "WRONGTYPE" in str(error)


use(redis.Redis(port=PORT, decode_responses=True))
protocols = ["default"]
if int(redis.__version__.split(".")[0]) >= 5:
    for protocol in (2, 3):
        use(redis.Redis(port=PORT, decode_responses=True, protocol=protocol))
        protocols.append(f"RESP{protocol}")
print("redis-py is content with", ", ".join(protocols))
