// What ./dev lint must find, and what it must leave alone. Every line that ends in "// hazard" begins an expression
// that gcc 12 miscompiles, and no other line does. Nothing here is ever run, or part of a build.

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using asio::awaitable;

struct aggregate {
    std::string text;
    int number = 0;
};

struct trivial {
    int a = 0;
    int b = 0;
};

class with_constructor {
public:
    with_constructor(std::string text, int number) : text_{std::move(text)}, number_{number} {}
    [[nodiscard]] int number() const { return number_; }

private:
    std::string text_;
    int number_;
};

using pair_of_strings = std::array<std::string, 2>;

awaitable<int> take(aggregate value)
{
    co_return value.number;
}
awaitable<int> take_trivial(trivial value)
{
    co_return value.a;
}
awaitable<int> take_class(with_constructor value)
{
    co_return value.number();
}
awaitable<int> take_text(std::string text)
{
    co_return static_cast<int>(text.size());
}
awaitable<int> take_array(pair_of_strings texts)
{
    co_return static_cast<int>(texts.size());
}
awaitable<int> take_list(std::vector<std::string> texts)
{
    co_return static_cast<int>(texts.size());
}
awaitable<int> take_default(int n, aggregate value = {"x", 1})
{
    co_return n + value.number;
}
awaitable<int> take_default_array(pair_of_strings texts = {"a", "b"})
{
    co_return static_cast<int>(texts.size());
}
awaitable<int> take_default_text(std::string text = "x")
{
    co_return static_cast<int>(text.size());
}
int use(const aggregate& value)
{
    return value.number;
}
template <class Work>
awaitable<void> run(Work work)
{
    co_await work();
}

// ---- temporaries of aggregates ----

awaitable<void> named_aggregate()
{
    co_await take(aggregate{"x", 1}); // hazard
}

awaitable<void> braces()
{
    co_await take({"x", 1}); // hazard
}

awaitable<void> designated()
{
    co_await take({.text = "x"}); // hazard
}

awaitable<void> array()
{
    co_await take_array({"a", "b"});                // hazard
    co_await take_array(pair_of_strings{"a", "b"}); // hazard
}

awaitable<void> default_argument()
{
    co_await take_default(1);      // hazard
    co_await take_default_array(); // hazard
}

awaitable<void> beside_the_await()
{
    const int n = aggregate{"x", 1}.number + co_await take_trivial({1, 2}); // hazard
    (void)n;
}

awaitable<aggregate> returned()
{
    co_return aggregate{std::to_string(co_await take_trivial({1, 2})), 3}; // hazard
}

awaitable<void> in_a_condition()
{
    if (co_await take({"x", 1}) == 1) // hazard
        co_return;
    while (co_await take({"x", 1}) == 0) { // hazard
    }
}

awaitable<void> in_a_lambda_that_is_spawned(asio::io_context& io)
{
    asio::co_spawn(
        io,
        []() -> awaitable<void> {
            co_await take({"x", 1}); // hazard
        },
        asio::detached);
    co_return;
}

awaitable<void> in_a_lambda_that_is_awaited(std::string text)
{
    co_await run([&]() -> awaitable<void> {
        co_await take(aggregate{text, 1}); // hazard
    });
}

template <class T>
awaitable<void> in_a_template(T text)
{
    co_await take({text, 1}); // hazard
}
template awaitable<void> in_a_template(std::string);

// ---- temporaries of lambdas ----

awaitable<void> captures_by_value(std::shared_ptr<int> shared)
{
    co_await run([shared]() -> awaitable<void> { co_return; });                    // hazard
    co_await run([moved = std::move(shared)]() -> awaitable<void> { co_return; }); // hazard
}

awaitable<void> captures_and_asks_for_the_executor(std::shared_ptr<int> shared)
{
    auto work = [shared]() -> awaitable<void> { co_return; };
    asio::co_spawn( // hazard
        co_await asio::this_coro::executor, [shared]() -> awaitable<void> { co_return; }, asio::detached);
    asio::co_spawn(co_await asio::this_coro::executor, std::move(work), asio::detached);
}

// ---- conditional operators ----

awaitable<void> chooses(bool first)
{
    co_await take_text(first ? std::string("a") : std::string("b"));                                   // hazard
    const std::string text = first ? std::string("a") : std::to_string(co_await take_trivial({1, 2})); // hazard
    co_await (first ? take_text("a") : take_text("b"));                                                // hazard
}

// ---- initializer_list ----

awaitable<void> lists()
{
    co_await take_list({"a", "b"});                    // hazard
    co_await take_list(std::vector<std::string>{"a"}); // hazard
}

// ---- what is right ----

awaitable<void> named_and_moved()
{
    aggregate value{"x", 1};
    co_await take(std::move(value));
    pair_of_strings texts{"a", "b"};
    co_await take_array(std::move(texts));
    std::vector<std::string> list{"a", "b"};
    co_await take_list(std::move(list));
    aggregate again{std::to_string(co_await take_trivial({1, 2})), 3};
    (void)again;
}

awaitable<void> trivial_or_with_constructor(bool first)
{
    co_await take_trivial({1, 2});
    co_await take_class({"x", 1});
    co_await take_class(with_constructor{"x", 1});
    co_await take_text("x");
    co_await take_default_text();
    aggregate value{"x", 1};
    co_await take_default(1, std::move(value));
    const int n = first ? co_await take_trivial({1, 2}) : 0;
    (void)n;
}

awaitable<void> captures_what_is_trivial(asio::io_context& io, std::shared_ptr<int> shared)
{
    int n = 1;
    co_await run([&shared, n]() -> awaitable<void> {
        *shared = n;
        co_return;
    });
    asio::co_spawn(
        io, [shared]() -> awaitable<void> { co_return; }, asio::detached); // nothing is awaited here
}

awaitable<void> in_a_lambda_of_its_own()
{
    // The aggregate and the co_await are not in one coroutine.
    const auto with = [](const aggregate& value, auto) { return value.number; };
    const int n = with({"x", 1}, []() -> awaitable<void> { co_await take_trivial({1, 2}); });
    const int m = co_await take_trivial({[] { return use({"x", 1}); }(), n});
    (void)m;
}

} // namespace
