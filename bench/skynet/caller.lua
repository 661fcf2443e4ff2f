-- Calls a counter so many times.
local skynet = require "skynet"
skynet.start(function()
    skynet.dispatch("lua", function(_, _, counter, count)
        for _ = 1, count do
            skynet.call(counter, "lua", 1)
        end
        skynet.ret(skynet.pack(true))
    end)
end)
