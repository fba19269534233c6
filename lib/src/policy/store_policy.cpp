#include <terrace/store_policy.hpp>

#include <algorithm>
#include <deque>
#include <fmt/format.h>
#include <stdexcept>
#include <unordered_set>

#include <terrace/text_options.hpp>

namespace terrace {
namespace {

std::vector<bitmap> everywhere(const store_candidates& candidates, const bitmap& which)
{
    return std::vector<bitmap>(candidates.adapters, which);
}

class store_everything final : public store_policy {
public:
    store_everything(std::string_view name, bool keep_in_l1) : name_{name}, keep_in_l1_{keep_in_l1} {}

    [[nodiscard]] std::string_view name() const noexcept override { return name_; }

    [[nodiscard]] std::vector<bitmap> select_targets(const store_candidates& candidates) override
    {
        return everywhere(candidates, bitmap{candidates.keys.size(), true});
    }

    [[nodiscard]] bitmap select_l1_deletions(std::span<const object_key> keys, const bitmap& stored) const override
    {
        return keep_in_l1_ ? bitmap{keys.size()} : stored;
    }

private:
    std::string_view name_;
    bool keep_in_l1_;
};

/// Remembers what it declined, by 64 bits of each key's hash: that a stranger is taken for a key seen before costs one
/// store too many, once in some 10^13 keys.
class second_touch final : public store_policy {
public:
    explicit second_touch(const second_touch_options& options) : most_{options.history_keys} {}

    [[nodiscard]] std::string_view name() const noexcept override { return "second_touch"; }
    [[nodiscard]] bool reconsiders() const noexcept override { return true; }

    [[nodiscard]] std::vector<bitmap> select_targets(const store_candidates& candidates) override
    {
        bitmap again{candidates.keys.size(), candidates.reason == store_reason::wanted};
        if (candidates.reason == store_reason::committed)
            for (std::size_t i = 0; i < candidates.keys.size(); ++i)
                again.set(i, !remember(candidates.keys[i].hash_code()));
        return everywhere(candidates, again);
    }

private:
    /// False if it was remembered already.
    bool remember(std::uint64_t hash)
    {
        if (!seen_.insert(hash).second)
            return false;
        in_order_.push_back(hash);
        if (in_order_.size() > most_) {
            seen_.erase(in_order_.front());
            in_order_.pop_front();
        }
        return true;
    }

    const std::uint64_t most_;
    std::unordered_set<std::uint64_t> seen_;
    std::deque<std::uint64_t> in_order_; // the same, the oldest first
};

class write_budget final : public store_policy {
public:
    explicit write_budget(const write_budget_options& options)
        : rate_{static_cast<double>(options.bytes_per_second)},
          burst_{options.burst_bytes != 0 ? static_cast<double>(options.burst_bytes) : 10 * rate_},
          saved_{burst_}
    {
    }

    [[nodiscard]] std::string_view name() const noexcept override { return "write_budget"; }
    [[nodiscard]] bool reconsiders() const noexcept override { return true; }

    [[nodiscard]] std::vector<bitmap> select_targets(const store_candidates& candidates) override
    {
        const std::chrono::duration<double> passed = candidates.now - filled_at_;
        saved_ = std::min(burst_, saved_ + rate_ * passed.count());
        filled_at_ = candidates.now;
        // From the head of the chain, for what lies behind a gap cannot be used. The last object may leave a debt, so
        // that one larger than the bucket is stored at all.
        std::size_t within = 0;
        for (; within < candidates.keys.size() && saved_ > 0; ++within)
            saved_ -= static_cast<double>(candidates.bytes[within]) * static_cast<double>(candidates.adapters);
        return everywhere(candidates, bitmap::first(within, candidates.keys.size()));
    }

private:
    const double rate_;  // bytes a second
    const double burst_; // bytes
    double saved_;
    clock::time_point filled_at_{};
};

class tiered final : public store_policy {
public:
    [[nodiscard]] std::string_view name() const noexcept override { return "tiered"; }

    [[nodiscard]] std::vector<bitmap> select_targets(const store_candidates& candidates) override
    {
        auto targets = everywhere(candidates, bitmap{candidates.keys.size()});
        if (!targets.empty())
            targets.front() = bitmap{candidates.keys.size(), true};
        return targets;
    }

    [[nodiscard]] std::optional<std::size_t> select_demotion(std::size_t from, std::size_t adapters) const override
    {
        return from + 1 < adapters ? std::optional{from + 1} : std::nullopt;
    }
};

} // namespace

bitmap store_policy::select_l1_deletions(std::span<const object_key> keys, const bitmap&) const
{
    return bitmap{keys.size()};
}

std::optional<std::size_t> store_policy::select_demotion(std::size_t, std::size_t) const
{
    return std::nullopt;
}

std::shared_ptr<store_policy> make_second_touch(second_touch_options options)
{
    if (options.history_keys == 0)
        throw std::invalid_argument("store policy second_touch: history is 0 keys; expected at least 1");
    return std::make_shared<second_touch>(options);
}

std::shared_ptr<store_policy> make_write_budget(write_budget_options options)
{
    if (options.bytes_per_second == 0)
        throw std::invalid_argument("store policy write_budget: rate is 0 bytes a second; expected at least 1");
    return std::make_shared<write_budget>(options);
}

std::shared_ptr<store_policy> store_policy::make(std::string_view text)
{
    const auto name = text.substr(0, text.find('?'));
    text_options options{fmt::format("store policy {:?}", text), text.substr(name.size())};
    std::shared_ptr<store_policy> policy;
    if (name == "default" || name == "skip_l1") {
        policy = std::make_shared<store_everything>(name == "default" ? "default" : "skip_l1", name == "default");
    } else if (name == "second_touch") {
        second_touch_options with;
        with.history_keys = options.take_count("history").value_or(with.history_keys);
        policy = make_second_touch(with);
    } else if (name == "write_budget") {
        write_budget_options with;
        with.bytes_per_second = options.take_bytes("rate").value_or(with.bytes_per_second);
        with.burst_bytes = options.take_bytes("burst").value_or(with.burst_bytes);
        policy = make_write_budget(with);
    } else if (name == "tiered") {
        policy = std::make_shared<tiered>();
    } else {
        throw std::invalid_argument(fmt::format(
            "store policy {:?} is unknown; expected default, skip_l1, second_touch, write_budget or tiered", name));
    }
    options.expect_all_taken();
    return policy;
}

} // namespace terrace
