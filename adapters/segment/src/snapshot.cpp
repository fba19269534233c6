#include "snapshot.hpp"

#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace terrace::segment {

namespace {

constexpr std::string_view snapshot_magic = "TERRSNAP";
constexpr std::uint64_t snapshot_version = 1;

/// Appends numbers and text.
class writer {
public:
    void number(std::uint64_t n)
    {
        for (int i = 0; i < 8; ++i)
            bytes_.push_back(static_cast<std::byte>(n >> (8 * i) & 0xff));
    }
    void text(std::string_view t)
    {
        for (const char c : t)
            bytes_.push_back(static_cast<std::byte>(c));
    }
    [[nodiscard]] std::vector<std::byte> finish() &&
    {
        number(checksum(bytes_));
        return std::move(bytes_);
    }

private:
    std::vector<std::byte> bytes_;
};

/// Takes them off again. Past the end there are zeros and empty texts, and it is not good() any more.
class reader {
public:
    explicit reader(std::span<const std::byte> bytes) : left_{bytes} {}

    std::uint64_t number()
    {
        std::uint64_t n = 0;
        const std::span<const std::byte> bytes = take(8);
        for (std::size_t i = bytes.size(); i-- != 0;)
            n = n << 8 | std::to_integer<std::uint64_t>(bytes[i]);
        return n;
    }
    std::string_view text(std::uint64_t length)
    {
        const std::span<const std::byte> bytes = take(length);
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    [[nodiscard]] bool good() const noexcept { return good_; }
    [[nodiscard]] bool at_end() const noexcept { return left_.empty(); }

private:
    std::span<const std::byte> take(std::uint64_t n)
    {
        good_ = good_ && n <= left_.size();
        if (!good_)
            return {};
        const auto taken = left_.first(n);
        left_ = left_.subspan(n);
        return taken;
    }

    std::span<const std::byte> left_;
    bool good_ = true;
};

/// The bytes without their checksum; nothing if that is not right.
std::optional<std::span<const std::byte>> checked(std::span<const std::byte> snapshot)
{
    if (snapshot.size() < 8)
        return std::nullopt;
    const auto content = snapshot.first(snapshot.size() - 8);
    return reader{snapshot.last(8)}.number() == checksum(content) ? std::optional{content} : std::nullopt;
}

} // namespace

std::vector<std::byte> make_snapshot(const snapshot_source& of)
{
    writer out;
    out.text(snapshot_magic);
    for (const std::uint64_t n : {snapshot_version, std::uint64_t{of.segments.size()}, std::uint64_t{of.objects.size()},
                                  of.last_sequence, of.last_order})
        out.number(n);
    for (const segment_file* s : of.segments)
        for (const std::uint64_t n :
             {std::uint64_t{s->number}, s->life, s->order, s->bytes, static_cast<std::uint64_t>(s->state), s->end})
            out.number(n);
    for (const indexed& o : of.objects) {
        const std::string key = o.key.to_string();
        for (const std::uint64_t n : {std::uint64_t{o.where.segment}, o.where.offset, o.where.payload_bytes,
                                      o.where.fingerprint, o.where.sequence, std::uint64_t{key.size()}})
            out.number(n);
        out.text(key);
    }
    return std::move(out).finish();
}

std::uint64_t most_snapshot_bytes(std::span<const std::byte, snapshot_head_bytes> head)
{
    constexpr std::uint64_t each_segment = 6 * 8;
    constexpr std::uint64_t each_object = 6 * 8 + key_room; // no key is longer
    constexpr std::uint64_t most = std::uint64_t{1} << 40;  // of either
    reader in{head};
    if (in.text(snapshot_magic.size()) != snapshot_magic || in.number() != snapshot_version)
        return 0;
    const std::uint64_t segments = in.number();
    const std::uint64_t objects = in.number();
    return segments > most || objects > most ? 0 : head.size() + segments * each_segment + objects * each_object + 8;
}

bool apply_snapshot(std::span<const std::byte> snapshot, recovered& found)
{
    const auto content = checked(snapshot);
    if (!content)
        return false;
    reader in{*content};
    if (in.text(snapshot_magic.size()) != snapshot_magic || in.number() != snapshot_version)
        return false;
    const std::uint64_t segments = in.number();
    const std::uint64_t objects = in.number();
    const std::uint64_t last_sequence = in.number();
    const std::uint64_t last_order = in.number();
    if (segments != found.segments.size())
        return false;

    struct change {
        segment_state state;
        std::uint64_t end;
    };
    std::vector<change> changes;
    std::map<std::uint64_t, std::uint64_t> sizes;
    for (const segment_file& s : found.segments) {
        const bool same =
            in.number() == s.number && in.number() == s.life && in.number() == s.order && in.number() == s.bytes;
        const std::uint64_t state = in.number();
        const std::uint64_t end = in.number();
        if (!same || state > static_cast<std::uint64_t>(segment_state::sealed) || end > s.bytes)
            return false;
        changes.push_back({static_cast<segment_state>(state), end});
        sizes.emplace(s.number, s.bytes);
    }
    std::vector<found_record> records;
    for (std::uint64_t i = 0; i < objects && in.good(); ++i) {
        record where;
        const std::uint64_t segment = in.number();
        where.segment = static_cast<std::uint32_t>(segment);
        where.offset = in.number();
        where.payload_bytes = in.number();
        where.fingerprint = in.number();
        where.sequence = in.number();
        const result<object_key> key = object_key::parse(in.text(in.number()));
        const auto size = sizes.find(segment);
        if (!key || size == sizes.end() || where.offset > size->second || where.payload_bytes > size->second)
            return false;
        records.push_back({record_kind::object, *key, where});
    }
    if (!in.good() || !in.at_end())
        return false;

    for (std::size_t i = 0; i < changes.size(); ++i) {
        found.segments[i].state = changes[i].state;
        found.segments[i].end = changes[i].end;
    }
    found.records = std::move(records);
    found.last_sequence = last_sequence;
    found.last_order = last_order;
    return true;
}

} // namespace terrace::segment
