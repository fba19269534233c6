#include "api.hpp"

#include <nlohmann/json.hpp>
#include <vector>

#include <terrace/metrics.hpp>

namespace example {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds patience{10}; // that a client waits at most
constexpr std::uint64_t max_json_bytes = 1 << 20;

terrace::clock::time_point deadline()
{
    return std::chrono::steady_clock::now() + patience;
}

terrace::object_key parse_key(std::string_view text)
{
    const auto key = terrace::object_key::parse(text);
    if (!key)
        throw refusal{http::status::bad_request,
                      "\"" + std::string{text} +
                          "\" is no key; expected model@rank@group@hash, as my-model@00000000@0000@1f"};
    return *key;
}

/// The keys of {"keys": ["...", ...]}.
std::vector<terrace::object_key> parse_keys(const std::string& text)
{
    const auto body = nlohmann::json::parse(text, nullptr, false);
    if (!body.is_object() || !body.contains("keys") || !body["keys"].is_array())
        throw refusal{http::status::bad_request, R"(the body is not as expected: {"keys": ["KEY", ...]})"};
    std::vector<terrace::object_key> keys;
    for (const auto& key : body["keys"]) {
        if (!key.is_string())
            throw refusal{http::status::bad_request, "a key is " + key.dump() + "; expected a string"};
        keys.push_back(parse_key(key.get<std::string>()));
    }
    return keys;
}

void expect_method(const request& asked, http::verb method)
{
    if (asked.method() != method)
        throw refusal{http::status::method_not_allowed,
                      std::string{asked.target()} + " takes " + std::string{http::to_string(method)}};
}

} // namespace

api::api(terrace::storage_manager& manager, std::uint64_t chunk_bytes)
    : manager_{manager},
      layout_{terrace::memory_layout::bytes(chunk_bytes)}
{
}

// [routes]
asio::awaitable<reply> api::answer(request& asked)
{
    constexpr std::string_view chunks = "/chunks/";
    if (asked.target().starts_with(chunks)) {
        const auto key = parse_key(asked.target().substr(chunks.size()));
        if (asked.method() == http::verb::put)
            co_return co_await put(asked, key);
        if (asked.method() == http::verb::get)
            co_return co_await get(key);
        throw refusal{http::status::method_not_allowed, "a chunk takes GET and PUT"};
    }
    if (asked.target() == "/prefetch") {
        expect_method(asked, http::verb::post);
        co_return co_await prefetch(asked);
    }
    if (asked.target() == "/status") {
        expect_method(asked, http::verb::get);
        co_return reply{http::status::ok, terrace::to_json(manager_.status(), 2) + "\n"};
    }
    if (asked.target() == "/metrics") {
        expect_method(asked, http::verb::get);
        co_return reply{terrace::prometheus_content_type, terrace::prometheus_text(manager_.status())};
    }
    throw refusal{http::status::not_found, "there is no " + std::string{asked.target()} +
                                               "; expected /chunks/KEY, /prefetch, /status or /metrics"};
}
// [/routes]

// [put]
asio::awaitable<reply> api::put(request& asked, terrace::object_key key)
{
    std::vector<terrace::object_key> keys{key};
    auto staged =
        co_await manager_.reserve_write_when_free(std::move(keys), layout_, deadline(), terrace::write_mode::all);
    if (const auto error = staged.ok(0); error != terrace::l1_error::none)
        throw refusal{http::status::insufficient_storage, "no room: " + std::string{to_string(error)}};
    co_await asked.read_into(staged.bytes(0)); // if this throws, nobody ever sees what was staged
    staged.commit();                           // and the store flow takes it to the files
    nlohmann::json stored;
    stored["stored"] = key.to_string();
    co_return reply{http::status::created, stored.dump() + "\n"};
}
// [/put]

// [get]
asio::awaitable<reply> api::get(terrace::object_key key)
{
    terrace::prefetch_request wanted{{key}, layout_};
    wanted.set_deadline(deadline());
    auto hits = co_await manager_.prefetch(std::move(wanted));
    if (hits.timed_out)
        throw refusal{http::status::gateway_timeout, "the chunk is there, but did not come in time"};
    if (hits.lease.empty())
        throw refusal{http::status::not_found, "there is no chunk " + key.to_string()};
    co_return reply{std::move(hits.lease)};
}
// [/get]

// [prefetch]
asio::awaitable<reply> api::prefetch(request& asked)
{
    const std::string text = co_await asked.read_text(max_json_bytes);
    terrace::prefetch_request wanted{parse_keys(text), layout_};
    wanted.set_deadline(deadline()).set_lock(terrace::lock_mode::no); // nobody reads it yet
    const auto hits = co_await manager_.prefetch(std::move(wanted));
    nlohmann::json answer;
    answer["prefix_hits"] = hits.prefix_hits;
    answer["from_memory"] = hits.l1_hits;
    answer["from_below"] = hits.l2_hits;
    co_return reply{http::status::ok, answer.dump() + "\n"};
}
// [/prefetch]

} // namespace example
