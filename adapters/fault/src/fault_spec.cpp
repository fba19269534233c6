#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <optional>
#include <stdexcept>

#include <terrace/fault_adapter.hpp>

namespace terrace {
namespace {

template <class T>
struct named {
    constexpr named(std::string_view n, T v) noexcept : name{n}, value{v} {} // clang 14 deduces no T without it

    std::string_view name;
    T value;
};

constexpr std::array call_names{
    named{"lookup", fault_calls::lookup},
    named{"load", fault_calls::load},
    named{"store", fault_calls::store},
    named{"unlock", fault_calls::unlock},
    named{"erase", fault_calls::erase},
    named{"list", fault_calls::list},
    named{"lock_victims", fault_calls::lock_victims},
    named{"close", fault_calls::close},
    named{"all", fault_calls::all},
};

constexpr std::array effect_names{
    named{"delay", fault_effect::delay},           named{"throw", fault_effect::throw_error},
    named{"lose", fault_effect::lose_answer},      named{"hang", fault_effect::hang},
    named{"hang_deaf", fault_effect::hang_deaf},   named{"fail", fault_effect::fail_items},
    named{"drop", fault_effect::drop_items},       named{"corrupt", fault_effect::corrupt_items},
    named{"wrong_size", fault_effect::wrong_size}, named{"die", fault_effect::die},
};

constexpr std::array error_names{
    named{"eio", boost::system::errc::io_error},
    named{"enospc", boost::system::errc::no_space_on_device},
    named{"eacces", boost::system::errc::permission_denied},
    named{"enodev", boost::system::errc::no_such_device},
    named{"etimedout", boost::system::errc::timed_out},
    named{"econnreset", boost::system::errc::connection_reset},
};

template <class T, std::size_t N>
std::optional<T> find(const std::array<named<T>, N>& names, std::string_view name)
{
    const auto* at = std::ranges::find(names, name, &named<T>::name);
    return at == names.end() ? std::nullopt : std::optional{at->value};
}

template <class T, std::size_t N>
std::string list_of(const std::array<named<T>, N>& names)
{
    std::string list;
    for (const auto& each : names)
        list += fmt::format("{}{}", list.empty() ? "" : ", ", each.name);
    return list;
}

template <class Number>
std::optional<Number> parse(std::string_view text)
{
    Number n{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return n;
}

/// Cuts the text at the first of these characters, which it takes off the rest.
std::string_view cut(std::string_view& rest, std::string_view at)
{
    const auto end = std::min(rest.find_first_of(at), rest.size());
    const auto head = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return head;
}

/// One fault of a spec, `calls=effect[:argument][@probability][/n]`, and the words for what is wrong with it.
class fault_text {
public:
    fault_text(const std::string& subject, std::string_view text) : subject_{subject}, text_{text} {}

    [[nodiscard]] fault_rule rule() const
    {
        std::string_view rest = text_;
        const fault_calls calls = parse_calls(cut(rest, "="));
        const std::string_view effect = rest.substr(0, rest.find_first_of(":@/"));
        const auto found = find(effect_names, effect);
        if (!found)
            reject(fmt::format("effect {:?}; expected one of {}", effect, list_of(effect_names)));
        fault_rule made{calls, *found};
        rest.remove_prefix(effect.size());
        while (!rest.empty()) {
            const char mark = rest.front();
            rest.remove_prefix(1);
            const std::string_view value = rest.substr(0, rest.find_first_of(":@/"));
            rest.remove_prefix(value.size());
            if (mark == ':')
                set_argument(made, value);
            else if (mark == '@')
                made.probability = probability(value);
            else
                made.every = parse<std::uint64_t>(value).value_or(0); // which no rule may have
        }
        if (made.effect == fault_effect::delay && made.delay == nanoseconds{0})
            reject("no delay; expected one such as delay:5ms");
        return made;
    }

    [[noreturn]] void reject(std::string_view what) const
    {
        throw std::invalid_argument(fmt::format("{}: fault {:?}: {}", subject_, text_, what));
    }

private:
    [[nodiscard]] fault_calls parse_calls(std::string_view names) const
    {
        fault_calls calls = fault_calls::none;
        do {
            const std::string_view name = cut(names, "+");
            const auto found = find(call_names, name);
            if (!found)
                reject(fmt::format("call {:?}; expected one of {}, or seed=number", name, list_of(call_names)));
            calls = calls | *found;
        } while (!names.empty());
        return calls;
    }

    void set_argument(fault_rule& rule, std::string_view value) const
    {
        switch (rule.effect) {
        case fault_effect::delay:
            rule.delay = *text_options{subject_, fmt::format("?delay={}", value)}.take_duration("delay");
            break;
        case fault_effect::throw_error:
        case fault_effect::lose_answer:
        case fault_effect::die:
            if (const auto error = find(error_names, value))
                rule.error = make_error_code(*error);
            else
                reject(fmt::format("error {:?}; expected one of {}", value, list_of(error_names)));
            break;
        case fault_effect::fail_items:
        case fault_effect::drop_items:
        case fault_effect::corrupt_items:
            rule.item_probability = probability(value);
            break;
        default:
            reject(fmt::format("argument {:?}; expected none", value));
        }
    }

    [[nodiscard]] double probability(std::string_view value) const
    {
        const auto p = parse<double>(value);
        if (!p || !(*p >= 0 && *p <= 1))
            reject(fmt::format("{:?} is not a probability; expected 0 to 1", value));
        return *p;
    }

    const std::string& subject_;
    std::string_view text_;
};

} // namespace

std::unique_ptr<l2_adapter>
make_fault_adapter(const adapter_spec& spec,
                   const std::function<std::unique_ptr<l2_adapter>(std::string_view)>& make_wrapped)
{
    std::string_view rest = spec.text();
    rest.remove_prefix(spec.type().size() + 1);
    const std::string_view wrapped = cut(rest, ";");
    if (wrapped.empty())
        spec.reject_place("expected the adapter to wrap, as in fault:memory:;load=delay:5ms");

    std::uint64_t seed = 0;
    std::vector<fault_rule> rules;
    while (!rest.empty()) {
        const std::string_view part = cut(rest, ";");
        const fault_text text{spec.subject(), part};
        if (!part.starts_with("seed=")) {
            rules.push_back(text.rule());
        } else if (const auto number = parse<std::uint64_t>(part.substr(5))) {
            seed = *number;
        } else {
            text.reject("expected a plain number");
        }
    }
    const auto control = std::make_shared<fault_control>(seed);
    for (const fault_rule& rule : rules)
        control->add(rule);
    return make_fault_adapter(make_wrapped(wrapped), control);
}

} // namespace terrace
