// Exceptions of C++ that are caught, and rethrown, across calls that park.
#include <stdexcept>
#include <string>

typedef void (*park_fn)(int);

static std::string text(int i) {
    return "number " + std::to_string(i) + ", with a text that is long enough for the heap";
}

// Whether the exception that is being handled is the same before and after a park.
extern "C" int caught_is_kept(int i, park_fn park) {
    try {
        throw std::runtime_error(text(i));
    } catch (const std::runtime_error& caught) {
        park(i);
        try {
            std::rethrow_exception(std::current_exception());
        } catch (const std::runtime_error& current) {
            return caught.what() == text(i) && current.what() == text(i);
        }
    }
    return 0;
}

// Whether `throw;` after a park throws what was caught before it.
extern "C" int rethrown_is_kept(int i, park_fn park) {
    try {
        try {
            throw std::runtime_error(text(i));
        } catch (...) {
            park(i);
            throw;
        }
    } catch (const std::runtime_error& caught) {
        return caught.what() == text(i) && !std::uncaught_exceptions();
    }
    return 0;
}
