#include <terrace/quota_table.hpp>

#include <doctest/doctest.h>
#include <stdexcept>
#include <thread>

#include <terrace/object_key.hpp>

using namespace terrace;

TEST_CASE("quotas: what is set is found and listed, by salt")
{
    quota_table quotas;
    quotas.set("b", 2);
    quotas.set("", 0);
    quotas.set("a", 1);
    quotas.set("b", 3); // replaces
    CHECK(quotas.find("b") == 3U);
    CHECK(quotas.find("") == 0U);
    CHECK_FALSE(quotas.find("c"));
    CHECK(quotas.list() == std::vector<quota_table::quota>{{"", 0}, {"a", 1}, {"b", 3}});

    CHECK(quotas.remove("b"));
    CHECK_FALSE(quotas.remove("b"));
    CHECK_FALSE(quotas.find("b"));
    CHECK(quotas.list().size() == 2);
}

TEST_CASE("quotas: a salt that no key can have is refused, and changes nothing")
{
    quota_table quotas;
    CHECK_THROWS_WITH_AS(quotas.set("a/b", 1), doctest::Contains("cache salt \"a%2fb\" has the byte 0x2f at 1"),
                         std::invalid_argument);
    CHECK_THROWS_AS(quotas.set("a@b", 1), std::invalid_argument);
    CHECK_THROWS_AS(quotas.set(std::string(object_key::max_salt_bytes + 1, 'x'), 1), std::invalid_argument);
    CHECK(quotas.list().empty());
    CHECK(quotas.version() == 0);
    quotas.set(std::string(object_key::max_salt_bytes, 'x'), 1);
    CHECK(quotas.list().size() == 1);
}

TEST_CASE("quotas: listeners hear of every change, when it is in force, for as long as they live")
{
    struct recorder : quota_listener {
        explicit recorder(const quota_table& q) : quotas{q} {}
        void on_quotas() noexcept override { heard.push_back(quotas.find("a")); } // the table is free
        const quota_table& quotas;
        std::vector<std::optional<std::uint64_t>> heard;
    };
    quota_table quotas;
    const auto one = std::make_shared<recorder>(quotas);
    auto other = std::make_shared<recorder>(quotas);
    quotas.listen(one);
    quotas.listen(other);
    quotas.set("a", 1);
    CHECK(other->heard.size() == 1);
    other.reset();
    quotas.remove("b"); // no change
    quotas.set("a", 2);
    quotas.remove("a");
    CHECK(one->heard == std::vector<std::optional<std::uint64_t>>{1, 2, std::nullopt});
    CHECK(quotas.version() == 3);
}

TEST_CASE("quotas: threads that set and read at once see whole quotas")
{
    quota_table quotas;
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 4; ++t)
        threads.emplace_back([&quotas, t] {
            const std::string mine = "t" + std::to_string(t);
            for (std::uint64_t i = 0; i < 1'000; ++i) {
                quotas.set(mine, i);
                quotas.set("shared", i);
                if (quotas.find(mine) != i || quotas.find("shared") > 1'000U)
                    throw std::logic_error("a quota is not what was set");
                (void)quotas.list();
            }
            quotas.remove(mine);
        });
    for (auto& thread : threads)
        thread.join();
    CHECK(quotas.list().size() == 1);
    CHECK(quotas.version() == 4 * 2'001);
}
