#include "support/world.hpp"

#include <map>

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

namespace {

/// Asks a policy about objects of `bytes` each.
class asked {
public:
    explicit asked(std::string_view text, std::size_t adapters = 2)
        : policy{store_policy::make(text)},
          adapters_{adapters}
    {
    }

    /// For each adapter the words it shall store: "a b|a".
    std::string targets(std::string_view objects, store_reason reason = store_reason::committed,
                        std::uint64_t bytes = 100)
    {
        const auto names = keys(objects);
        const std::vector<std::uint64_t> sizes(names.size(), bytes);
        store_candidates candidates;
        candidates.keys = names;
        candidates.bytes = sizes;
        candidates.adapters = adapters_;
        candidates.reason = reason;
        candidates.now = now;
        std::string text;
        for (const bitmap& which : policy->select_targets(candidates)) {
            std::vector<std::string> chosen;
            REQUIRE(which.size() == names.size());
            which.for_each_set([&](std::size_t i) { chosen.push_back(names[i].to_string()); });
            text += words(chosen) + "|";
        }
        return text;
    }

    std::shared_ptr<store_policy> policy;
    clock::time_point now{1h};

private:
    std::size_t adapters_;
};

} // namespace

TEST_CASE("store policy: where a batch goes")
{
    struct row {
        std::string_view policy;
        std::size_t adapters;
        std::string_view targets; // of "a b", committed for the first time
        bool reconsiders;
    };
    const row rows[] = {
        {"default", 0, "", false},         {"default", 1, "a b|", false},   {"default", 2, "a b|a b|", false},
        {"skip_l1", 2, "a b|a b|", false}, {"second_touch", 2, "||", true}, {"write_budget", 2, "a b|a b|", true},
        {"tiered", 0, "", false},          {"tiered", 3, "a b|||", false},
    };
    for (const row& r : rows) {
        CAPTURE(r.policy);
        CAPTURE(r.adapters);
        asked policy{r.policy, r.adapters};
        CHECK(policy.policy->name() == r.policy);
        CHECK(policy.targets("a b") == r.targets);
        CHECK(policy.policy->reconsiders() == r.reconsiders);
    }
}

TEST_CASE("store policy: what leaves L1 once it is stored")
{
    const auto names = keys("a b c");
    const bitmap stored = bitmap::first(2, 3);
    for (const char* name : {"default", "second_touch", "write_budget", "tiered"}) {
        CAPTURE(name);
        CHECK(store_policy::make(name)->select_l1_deletions(names, stored).none());
    }
    CHECK(store_policy::make("skip_l1")->select_l1_deletions(names, stored) == stored);
}

TEST_CASE("store policy: only tiered moves what is evicted, each time to the next")
{
    for (const char* name : {"default", "skip_l1", "second_touch", "write_budget"})
        CHECK_FALSE(store_policy::make(name)->select_demotion(0, 3));
    const auto tiered = store_policy::make("tiered");
    CHECK(tiered->select_demotion(0, 3) == 1);
    CHECK(tiered->select_demotion(1, 3) == 2);
    CHECK_FALSE(tiered->select_demotion(2, 3));
}

TEST_CASE("store policy: second_touch stores a key the second time it is wanted")
{
    asked policy{"second_touch", 1};
    CHECK(policy.targets("a b") == "|");
    SUBCASE("written again")
    {
        CHECK(policy.targets("b c") == "b|");
        CHECK(policy.targets("c") == "c|");
    }
    SUBCASE("read from L1")
    {
        CHECK(policy.targets("a", store_reason::wanted) == "a|");
    }
    SUBCASE("as long as its history remembers the first")
    {
        asked forgetful{"second_touch?history=2", 1};
        CHECK(forgetful.targets("a b c") == "|");
        CHECK(forgetful.targets("a") == "|"); // forgotten for c, and now b is for a
        CHECK(forgetful.targets("c") == "c|");
        CHECK(forgetful.targets("b") == "|");
    }
}

TEST_CASE("store policy: write_budget stores the head of a batch, as far as the budget goes")
{
    asked policy{"write_budget?rate=100&burst=300", 1}; // of objects of 100 bytes
    CHECK(policy.targets("a b c d") == "a b c|");
    CHECK(policy.targets("e") == "|");
    SUBCASE("each second brings more")
    {
        policy.now += 1s;
        CHECK(policy.targets("e f") == "e|");
        policy.now += 500ms; // half an object's worth: it is stored, and leaves a debt
        CHECK(policy.targets("f g") == "f|");
        policy.now += 500ms;
        CHECK(policy.targets("g") == "|");
    }
    SUBCASE("up to the burst")
    {
        policy.now += 1h;
        CHECK(policy.targets("e f g h") == "e f g|");
    }
    SUBCASE("what is wanted again is paid for as well")
    {
        policy.now += 1s;
        CHECK(policy.targets("d e", store_reason::wanted) == "d|");
    }
    SUBCASE("each adapter costs")
    {
        asked two{"write_budget?rate=100&burst=400", 2};
        CHECK(two.targets("a b c") == "a b|a b|");
    }
    SUBCASE("an object larger than the burst is stored, and paid for afterwards")
    {
        asked small{"write_budget?rate=100&burst=100", 1};
        CHECK(small.targets("a", store_reason::committed, 1000) == "a|");
        small.now += 9s;
        CHECK(small.targets("b") == "|"); // nothing owed, nothing saved
        small.now += 1s;
        CHECK(small.targets("b") == "b|");
    }
    SUBCASE("the burst is what ten seconds bring, unless it is given")
    {
        asked ten{"write_budget?rate=100", 1};
        CHECK(ten.targets("a b c d e f g h i j k") == "a b c d e f g h i j|");
    }
}

TEST_CASE("store policy: a name or an option that does not exist is refused, and what there is named")
{
    const std::map<std::string, std::string> messages{
        {"fast", "store policy \"fast\" is unknown; expected default, skip_l1, second_touch, write_budget or tiered"},
        {"default?rate=1", "store policy \"default?rate=1\": unknown option \"rate\"; expected none"},
        {"second_touch?histroy=1",
         "store policy \"second_touch?histroy=1\": unknown option \"histroy\"; expected one of history"},
        {"second_touch?history=0", "store policy second_touch: history is 0 keys; expected at least 1"},
        {"write_budget?rate=0", "store policy write_budget: rate is 0 bytes a second; expected at least 1"},
        {"write_budget?rate=x", "store policy \"write_budget?rate=x\": option rate: \"x\" is not a size; expected a "
                                "number of bytes such as 4096, 64KiB or 1.5GiB"},
    };
    for (const auto& [text, message] : messages)
        CHECK_THROWS_WITH_AS((void)store_policy::make(text), message.c_str(), std::invalid_argument);
}
