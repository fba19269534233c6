#include "support/world.hpp"

#include <algorithm>
#include <map>
#include <random>

using namespace terrace;
using namespace terrace::test;

namespace {

std::string name_of(const evictable& object)
{
    return words({object.key.to_string()});
}

/// Objects under a policy, by name, and nothing else of a tier. "a b" are two objects, "a@x" is one of the tenant x.
class objects {
public:
    explicit objects(std::unique_ptr<eviction_policy> policy) : policy_{std::move(policy)} {}
    explicit objects(std::string_view policy) : objects{eviction_policy::make(policy)} {}
    ~objects()
    {
        for (auto& [name, object] : all_)
            policy_->forget(object);
    }

    void admit(std::string_view names, std::uint64_t bytes = 1)
    {
        for (const object_key& k : keys(names)) {
            evictable& object = all_[words({k.to_string()})];
            object.key = k;
            object.bytes = bytes;
            policy_->admit(object);
        }
    }
    void touch(std::string_view names) { each(names, &eviction_policy::touch); }
    void lock(std::string_view names) { each(names, &eviction_policy::acquire); }
    void release(std::string_view names) { each(names, &eviction_policy::release); }
    void erase(std::string_view names)
    {
        each(names, &eviction_policy::forget);
        for (const object_key& k : keys(names))
            all_.erase(words({k.to_string()}));
    }

    /// The next `most` victims, evicted; fewer if no more can go.
    std::string evict(std::size_t most) { return evict(most, &eviction_policy::victim); }
    std::string evict_all() { return evict(all_.size()); }
    std::string drain_overdue() { return evict(all_.size(), &eviction_policy::overdue); }
    /// The next victim, which stays.
    std::string next()
    {
        const evictable* victim = policy_->victim();
        return victim == nullptr ? "" : name_of(*victim);
    }

    [[nodiscard]] std::string resident() const
    {
        std::string names;
        for (const auto& [name, object] : all_)
            names += (names.empty() ? "" : " ") + name;
        return names;
    }
    [[nodiscard]] eviction_policy& policy() { return *policy_; }

private:
    void each(std::string_view names, void (eviction_policy::*call)(evictable&) noexcept)
    {
        for (const object_key& k : keys(names))
            (policy_.get()->*call)(all_.at(words({k.to_string()})));
    }
    std::string evict(std::size_t most, evictable* (eviction_policy::*pick)() noexcept)
    {
        std::string names;
        for (; most > 0; --most) {
            evictable* victim = (policy_.get()->*pick)();
            if (victim == nullptr)
                break;
            const std::string name = name_of(*victim);
            names += (names.empty() ? "" : " ") + name;
            policy_->forget(*victim);
            all_.erase(name);
        }
        return names;
    }

    std::map<std::string, evictable> all_;
    std::unique_ptr<eviction_policy> policy_;
};

/// "t0 t1 ... " for a batch, from its last to its first, as a tier admits it.
std::string numbered(std::string_view stem, int count)
{
    std::string names;
    for (int i = count; i-- > 0;)
        names += std::string{stem} + std::to_string(i) + " ";
    return names;
}

std::size_t count(const std::string& names)
{
    return keys(names).size();
}

} // namespace

// ---- every policy ----------------------------------------------------------------------------------------------

TEST_CASE("eviction policies: one that is unknown is refused with the names of all")
{
    CHECK_THROWS_WITH_AS(static_cast<void>(eviction_policy::make("fifo")),
                         "eviction policy \"fifo\" is unknown; expected lru, s3fifo, isolated_lru or none",
                         std::invalid_argument);
}

TEST_CASE("eviction policies: nothing goes while everything is locked, and all of it afterwards")
{
    for (const std::string policy : {"lru", "s3fifo", "isolated_lru"}) {
        CAPTURE(policy);
        objects o{policy};
        o.admit("a b c d");
        o.touch("a b");
        o.lock("a b c d");
        for (int i = 0; i < 3; ++i)
            CHECK(o.evict_all().empty());
        o.touch("c");
        o.release("a b c d");
        CHECK(count(o.evict_all()) == 4);
        CHECK(o.evict_all().empty());
    }
}

TEST_CASE("eviction policies: a victim stays the victim until it goes, is wanted or is locked")
{
    for (const std::string policy : {"lru", "s3fifo", "isolated_lru"}) {
        CAPTURE(policy);
        objects o{policy};
        o.admit("a b c");
        CHECK(o.next() == "a");
        CHECK(o.next() == "a");
        o.lock("a");
        CHECK(o.next() == "b");
        o.erase("b");
        CHECK(o.evict_all() == "c");
        o.release("a");
        CHECK(o.evict_all() == "a");
    }
}

TEST_CASE("eviction policies: what is erased while it is locked is forgotten")
{
    for (const std::string policy : {"lru", "s3fifo", "isolated_lru"}) {
        CAPTURE(policy);
        objects o{policy};
        o.admit("a b");
        o.lock("a");
        CHECK(o.next() == "b"); // the hand has gone by
        o.erase("a");
        CHECK(o.evict_all() == "b");
        o.admit("a");
        CHECK(o.evict_all() == "a");
    }
}

TEST_CASE("eviction policies: of a chain that was never wanted again, the tail goes first")
{
    for (const std::string policy : {"lru", "s3fifo", "isolated_lru"}) {
        CAPTURE(policy);
        objects o{policy};
        o.admit("c b a"); // a batch is admitted from its last key to its first
        CHECK(o.evict_all() == "c b a");
    }
}

TEST_CASE("eviction policies: none evicts nothing")
{
    objects o{"none"};
    o.admit("a b");
    o.lock("a");
    o.touch("b");
    o.release("a");
    CHECK(o.evict_all().empty());
    CHECK(o.drain_overdue().empty());
}

// ---- lru -------------------------------------------------------------------------------------------------------

TEST_CASE("lru: the order is that of the last release or touch")
{
    objects o{"lru"};
    o.admit("a b c d");
    SUBCASE("of admission, if there was neither")
    {
        CHECK(o.evict_all() == "a b c d");
    }
    SUBCASE("touched")
    {
        o.touch("a c");
        CHECK(o.evict_all() == "b d a c");
    }
    SUBCASE("locked and released")
    {
        o.lock("a b");
        o.release("b a");
        CHECK(o.evict_all() == "c d b a");
    }
    SUBCASE("touched while it was locked, which adds nothing")
    {
        o.lock("a b");
        o.touch("a");
        o.release("a b");
        CHECK(o.evict_all() == "c d a b");
    }
}

// ---- s3fifo ----------------------------------------------------------------------------------------------------

TEST_CASE("s3fifo: what is wanted twice in the small queue goes round in the main one")
{
    objects o{"s3fifo"};
    o.admit("a b c d");
    SUBCASE("not wanted, first in, first out")
    {
        CHECK(o.evict_all() == "a b c d");
    }
    SUBCASE("once is not enough")
    {
        o.touch("a");
        CHECK(o.evict_all() == "a b c d");
    }
    SUBCASE("twice is")
    {
        o.touch("a a b b");
        CHECK(o.evict_all() == "c d a b"); // with no wish left: those count for the queue they were made in
    }
    SUBCASE("in the main queue each wish is one more round, and three is the most that count")
    {
        o.touch("a a b b");
        CHECK(o.evict(2) == "c d");
        o.touch("a a a a a b b b");
        CHECK(o.evict_all() == "a b");
    }
    SUBCASE("which is when those that came later overtake it")
    {
        o.touch("a a b b c c d d");
        CHECK(o.next() == "a"); // all four are in the main queue
        o.touch("a a a a a c");
        CHECK(o.evict(2) == "b d");
        CHECK(o.evict(1) == "c"); // its one wish is spent, and two of a's
        CHECK(o.evict(1) == "a");
    }
}

TEST_CASE("s3fifo: the small queue gives while it has a tenth of the bytes, after that the main one")
{
    objects o{"s3fifo"};
    o.admit(numbered("m", 9), 10);
    for (int i = 0; i < 2; ++i)
        o.touch(numbered("m", 9));
    (void)o.next(); // moves them into the main queue
    SUBCASE("in bytes, not in objects")
    {
        o.admit("s", 10); // 10 of 100
        CHECK(o.evict(1) == "s");
    }
    SUBCASE("less than a tenth stays")
    {
        o.admit("s", 9); // 9 of 99
        CHECK(o.evict(1) == "m8");
    }
    SUBCASE("until what is left makes it one")
    {
        o.admit("s", 9);
        CHECK(o.evict(2) == "m8 s"); // 9 of 89
    }
}

TEST_CASE("s3fifo: what went lately comes back into the main queue")
{
    objects o{"s3fifo"};
    o.admit("a b c d e f g h i j");
    CHECK(o.evict(1) == "a");
    SUBCASE("where it outlives what is new")
    {
        o.admit("a z");
        CHECK(o.evict_all() == "b c d e f g h i j z a");
    }
    SUBCASE("but not after being erased by its owner")
    {
        o.erase("b");
        o.admit("b z");
        CHECK(o.evict_all() == "c d e f g h i j b z");
    }
    SUBCASE("nor once as many have gone after it as the main queue may hold")
    {
        for (int i = 0; i < 9; ++i) {
            o.admit("n" + std::to_string(i));
            o.evict(1);
        }
        o.admit("a z");
        CHECK(o.evict_all() == "n0 n1 n2 n3 n4 n5 n6 n7 n8 a z");
    }
    SUBCASE("and each time it goes counts anew")
    {
        o.admit("a"); // main
        CHECK(o.evict(10) == "b c d e f g h i j a");
        o.admit("z a");
        CHECK(o.evict_all() == "z a");
    }
}

TEST_CASE("s3fifo: a scan of things wanted once leaves alone what is wanted often")
{
    // The same under LRU, which forgets everything: what the policy is for.
    for (const std::string policy : {"s3fifo", "lru"}) {
        CAPTURE(policy);
        objects o{policy};
        o.admit(numbered("hot", 50));
        for (int i = 0; i < 3; ++i)
            o.touch(numbered("hot", 50));
        for (int i = 0; i < 1'000; ++i) { // a tier of 100 objects
            o.admit("scan" + std::to_string(i));
            if (count(o.resident()) > 100)
                o.evict(1);
        }
        const std::string left = o.resident();
        std::size_t hot = 0;
        for (int i = 0; i < 50; ++i)
            hot += (" " + left + " ").find(" hot" + std::to_string(i) + " ") != std::string::npos;
        CHECK(hot == (policy == "s3fifo" ? 50U : 0U));
    }
}

TEST_CASE("s3fifo: where a locked object stands after the hand has gone by")
{
    objects o{"s3fifo"};
    o.admit("a b c d");
    SUBCASE("not gone by, its lock changes nothing")
    {
        o.lock("b");
        CHECK(o.next() == "a");
        o.release("b");
        CHECK(o.evict_all() == "a b c d");
    }
    SUBCASE("never wanted: it is only being stored, and stays small")
    {
        o.lock("a");
        CHECK(o.evict(1) == "b");
        o.release("a");
        o.admit("e b"); // b is remembered
        CHECK(o.evict_all() == "c d a e b");
    }
    SUBCASE("wanted: it was in use, and is in the main queue")
    {
        o.lock("a");
        o.touch("a");
        CHECK(o.evict(1) == "b");
        o.release("a");
        o.admit("e");
        CHECK(o.evict_all() == "c d e a");
    }
    SUBCASE("in the main queue it goes round, and that costs it a wish as it does others")
    {
        o.touch("a a b b c c d d");
        CHECK(o.next() == "a");
        o.touch("a b b b");
        o.lock("a");
        CHECK(o.next() == "c");
        o.release("a"); // behind b, without a wish
        CHECK(o.evict_all() == "c d a b");
    }
}

TEST_CASE("s3fifo: what victim() has named and nobody evicts is remembered as nothing special")
{
    objects o{"s3fifo"};
    o.admit("a b");
    CHECK(o.next() == "a");
    o.touch("a"); // so it was not evicted
    o.erase("a");
    o.admit("a z");
    CHECK(o.evict_all() == "b a z");
}

// ---- isolated_lru ----------------------------------------------------------------------------------------------

namespace {

struct tenants {
    std::shared_ptr<quota_table> quotas = std::make_shared<quota_table>();
    objects o{eviction_policy::make("isolated_lru", quotas)};

    [[nodiscard]] std::string usage()
    {
        std::map<std::string, std::string> by_name;
        for (const salt_usage& u : o.policy().usage())
            by_name[std::string{u.salt}] = std::to_string(u.kept_bytes) + "/" + std::to_string(u.used_bytes) +
                                           (u.quota_bytes ? " of " + std::to_string(*u.quota_bytes) : "");
        std::string text;
        for (const auto& [name, numbers] : by_name)
            text += (text.empty() ? "" : ", ") + name + ": " + numbers;
        return text;
    }
};

} // namespace

TEST_CASE("isolated_lru: without quotas the tenant that takes most gives first")
{
    tenants t;
    t.o.admit("a@x b@x c@x");
    t.o.admit("d@y e@y");
    t.o.admit("f");
    SUBCASE("its oldest first, until it takes no more than the others")
    {
        CHECK(t.o.evict(1) == "a@x");
        CHECK(count(t.o.evict(2)) == 2); // x or y, which take the same, then the other
        CHECK(t.usage() == ": 1/1, x: 1/1, y: 1/1");
    }
    SUBCASE("in bytes, not in objects")
    {
        t.o.admit("g@y", 5);
        CHECK(t.o.evict(2) == "d@y e@y");
    }
    SUBCASE("what it has locked counts, but cannot go")
    {
        t.o.lock("a@x c@x");
        CHECK(t.o.evict(1) == "b@x");
        CHECK(t.o.evict(1) == "d@y"); // x takes as much, and has nothing to give
        t.o.release("c@x a@x");
        t.o.touch("c@x");
        CHECK(t.o.evict(1) == "a@x");
    }
    SUBCASE("nothing is overdue")
    {
        CHECK(t.o.drain_overdue().empty());
    }
}

TEST_CASE("isolated_lru: one tenant's flood does not push out the others")
{
    tenants t;
    t.o.admit(numbered("s", 30) + "q0@y q1@y q2@y");
    for (int i = 0; i < 1'000; ++i) { // a tier of 100 objects
        t.o.admit("flood" + std::to_string(i) + "@x");
        if (count(t.o.resident()) > 100)
            t.o.evict(1);
    }
    CHECK(t.usage() == ": 30/30, x: 67/67, y: 3/3");
}

TEST_CASE("isolated_lru: what a tenant keeps over its quota is overdue, by age, room or not")
{
    tenants t;
    t.quotas->set("x", 3);
    t.o.admit("a@x b@x c@x");
    t.o.admit("y0@y y1@y y2@y y3@y y4@y");
    CHECK(t.o.drain_overdue().empty());
    t.o.touch("a@x");

    SUBCASE("and goes before anything of those who take more")
    {
        t.o.admit("d@x");
        CHECK(t.o.next() == "b@x");
        CHECK(t.o.drain_overdue() == "b@x");
        CHECK(t.o.next() == "y0@y");
    }
    SUBCASE("until it is within the quota, in bytes")
    {
        t.o.admit("d@x", 2);
        CHECK(t.o.drain_overdue() == "b@x c@x");
    }
    SUBCASE("an object larger than the quota goes, and all before it")
    {
        t.o.admit("d@x", 4);
        CHECK(t.o.drain_overdue() == "b@x c@x a@x d@x");
    }
    SUBCASE("what passes through does not count, until it is released")
    {
        t.o.admit("d@x e@x");
        t.o.lock("d@x e@x");
        CHECK(t.usage() == "x: 3/5 of 3, y: 5/5");
        CHECK(t.o.drain_overdue().empty());
        t.o.release("e@x d@x");
        CHECK(t.o.drain_overdue() == "b@x c@x");
        CHECK(t.usage() == "x: 3/3 of 3, y: 5/5");
    }
    SUBCASE("while everything is locked nothing is")
    {
        t.quotas->set("x", 0);
        t.o.lock("a@x b@x c@x");
        CHECK(t.o.drain_overdue().empty());
        t.o.release("a@x");
        CHECK(t.o.drain_overdue() == "a@x");
    }
    SUBCASE("lowered under use, the difference goes")
    {
        t.quotas->set("x", 1);
        CHECK(t.o.drain_overdue() == "b@x c@x");
    }
    SUBCASE("raised or removed, nothing does")
    {
        t.o.admit("d@x");
        SUBCASE("")
        {
            t.quotas->set("x", 4);
        }
        SUBCASE("")
        {
            t.quotas->remove("x");
        }
        CHECK(t.o.drain_overdue().empty());
        CHECK(t.o.next() == "y0@y");
    }
    SUBCASE("of several tenants the one that is furthest over its quota gives first")
    {
        t.quotas->set("y", 1);
        t.quotas->set("x", 2);
        CHECK(t.o.evict(3) == "y0@y y1@y y2@y");
        CHECK(t.o.drain_overdue() == "b@x y3@y"); // equally far over them, the one that takes more
    }
}

TEST_CASE("isolated_lru: a quota of zero keeps nothing, also of objects without a salt")
{
    tenants t;
    t.quotas->set("", 0);
    t.o.admit("a b c@x");
    t.o.lock("b");
    CHECK(t.o.drain_overdue() == "a");
    t.o.release("b");
    CHECK(t.o.drain_overdue() == "b");
    CHECK(t.o.resident() == "c@x");
}

TEST_CASE("isolated_lru: a tenant is there as long as its objects are")
{
    tenants t;
    t.quotas->set("x", 5);
    CHECK(t.usage().empty());
    t.o.admit("a@x b@y");
    t.o.lock("a@x");
    CHECK(t.usage() == "x: 0/1 of 5, y: 1/1");
    t.o.erase("a@x");
    CHECK(t.usage() == "y: 1/1");
    t.o.erase("b@y");
    CHECK(t.usage().empty());
}

TEST_CASE("isolated_lru: ten thousand tenants")
{
    tenants t;
    constexpr int many = 10'000;
    for (int i = 0; i < many; ++i) {
        const std::string tenant = "@many" + std::to_string(i);
        t.o.admit("a" + tenant + " b" + tenant);
        if (i % 2 == 0)
            t.quotas->set(tenant.substr(1), 1);
    }
    CHECK(t.o.policy().usage().size() == many);
    CHECK(count(t.o.drain_overdue()) == many / 2);
    CHECK(count(t.o.evict(many / 2)) == many / 2); // of those with two, one each
    for (const salt_usage& u : t.o.policy().usage())
        REQUIRE(u.used_bytes == 1);
    CHECK(count(t.o.evict_all()) == many);
    CHECK(t.usage().empty());
}
