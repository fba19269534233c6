#include "support/world.hpp"

using namespace terrace;
using namespace terrace::test;

namespace {

/// "f0 f1 f2" by kind and number of chunks.
std::string chunks(std::string_view kind, std::size_t n)
{
    std::string names;
    for (std::size_t i = 0; i < n; ++i)
        names += std::string{kind} + std::to_string(i) + " ";
    return names;
}

key_group group(std::string_view kind, std::size_t n)
{
    return {keys(chunks(kind, n)), memory_layout::bytes(object_bytes)};
}

} // namespace

TEST_CASE("groups: a chunk counts only when every full-attention group has it")
{
    world w;
    w.put("f0 f1 f2 g0 g1");
    auto hits = w.run(w.manager.prefetch(prefetch_request{{group("f", 3), group("g", 3)}}));
    CHECK(hits.prefix_hits == 2);
    CHECK(words(hits.lease) == "f0 f1 g0 g1");
    CHECK(w.l2.locks[key("f2").to_string()] == 0);
    CHECK(intact(hits.lease));
    hits.lease = {};
    w.close();
}

TEST_CASE("groups: a windowed group loads its trailing window only")
{
    world w{{.l1_objects = 16}};
    w.put("f0 f1 f2 f3 s2 s3");
    std::vector<key_group> request{group("f", 4), group("s", 4)};
    request[1].set_window_chunks(2);
    auto hits = w.run(w.manager.prefetch(prefetch_request{request}));
    CHECK(hits.prefix_hits == 4);
    CHECK(words(hits.lease) == "f0 f1 f2 f3 s2 s3");
    CHECK(w.l2.loaded.size() == 6);
    hits.lease = {};
    w.close();
}

TEST_CASE("groups: a ticket counts what its load will give, of a window as of L2")
{
    world w{{.l1_objects = 16}};
    w.write("f0 f1 f2 s0 s1 s2");
    std::vector<key_group> request{group("f", 3), group("s", 3)};
    request[1].set_window_chunks(1);
    auto ticket = w.run(w.manager.lookup(prefetch_request{request}));
    CHECK(ticket.hits() == 4);
    CHECK(ticket.prefix_hits() == 3);
    const bitmap found = ticket.found();
    auto hits = w.run(ticket.load());
    CHECK(hits.found == found);
    hits.lease = {};
    w.close();
}

TEST_CASE("groups: a window that cannot be filled shortens the prefix to one where it can")
{
    world w{{.l1_objects = 16}};
    w.put("f0 f1 f2 f3 s0 s1 s3");
    std::vector<key_group> request{group("f", 4), group("s", 4)};
    request[1].set_window_chunks(2);
    auto hits = w.run(w.manager.prefetch(prefetch_request{request}));
    CHECK(hits.prefix_hits == 2);
    CHECK(words(hits.lease) == "f0 f1 s0 s1");
    CHECK(w.l2.total_locks() == 0);
    hits.lease = {};
    w.close();
}

TEST_CASE("groups: when the loads of a longer prefix fail, what L1 alone can serve is still there")
{
    world w{{.l1_objects = 16}};
    w.write("f0 f1 s0 s1");
    w.l2.objects.clear();
    w.put("f2 f3 s2 s3");
    w.l2.broken = {key("f2").to_string(), key("s2").to_string()};
    std::vector<key_group> request{group("f", 4), group("s", 4)};
    request[1].set_window_chunks(2);
    w.l2.loads.shut();
    auto hits = w.start(w.manager.prefetch(prefetch_request{request}));
    CHECK(w.l2.loaded.size() == 4);
    w.l2.loads.open();
    w.settle();
    auto result = hits.take();
    CHECK(result.prefix_hits == 2);
    CHECK(words(result.lease) == "f0 f1 s0 s1");
    result.lease = {};
    w.close();
}

TEST_CASE("groups: with several keys per chunk all of them are needed")
{
    world w;
    w.put("k0 k1 k2 k3 k4");
    std::vector<key_group> request{group("k", 6)};
    request[0].set_keys_per_chunk(2);
    auto hits = w.run(w.manager.prefetch(prefetch_request{request}));
    CHECK(hits.prefix_hits == 2);
    CHECK(words(hits.lease) == "k0 k1 k2 k3");
    hits.lease = {};
    w.close();
}

TEST_CASE("groups: each has a layout of its own")
{
    world w;
    w.put("f0");
    const auto half = object_bytes / 2;
    w.l2.objects[key("g0").to_string()] = payload(key("g0"), half);
    std::vector<key_group> request{group("f", 1), key_group{keys("g0"), memory_layout::bytes(half)}};
    auto hits = w.run(w.manager.prefetch(prefetch_request{request}));
    CHECK(hits.prefix_hits == 1);
    REQUIRE(hits.lease.size() == 2);
    CHECK(hits.lease.bytes(0).size() == object_bytes);
    CHECK(hits.lease.bytes(1).size() == half);
    CHECK(intact(hits.lease));
    hits.lease = {};
    w.close();
}

TEST_CASE("groups: under segmented_prefix gaps are allowed, if the first chunk is there")
{
    world w;
    w.put("a b d e");
    auto hits = w.run(w.manager.prefetch(w.request("a b c d e").set_trim(trim_rule::segmented_prefix)));
    CHECK(words(hits.lease) == "a b d e");
    CHECK(hits.prefix_hits == 2);
    hits.lease = {};
    auto none = w.run(w.manager.prefetch(w.request("x d e").set_trim(trim_rule::segmented_prefix)));
    CHECK(none.lease.empty());
    CHECK(w.l2.total_locks() == 0);
    w.close();
}

TEST_CASE("groups: what makes no request is refused at the door")
{
    world w;
    std::vector<key_group> uneven{group("f", 3), group("g", 2)};
    CHECK_THROWS_WITH_AS(w.run(w.manager.prefetch(prefetch_request{uneven})),
                         doctest::Contains("key group 1: 2 chunks"), std::invalid_argument);
    CHECK_THROWS_AS(w.run(w.manager.prefetch(prefetch_request{std::vector<key_group>{}})), std::invalid_argument);
    std::vector<key_group> twice{group("f", 1), group("f", 1)};
    CHECK_THROWS_WITH_AS(w.run(w.manager.prefetch(prefetch_request{twice})), doctest::Contains("stands twice"),
                         std::invalid_argument);
    w.close();
}
