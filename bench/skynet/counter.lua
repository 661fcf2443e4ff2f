-- Adds up what it gets.
local skynet = require "skynet"
local sum = 0
skynet.start(function()
    skynet.dispatch("lua", function(_, _, n)
        sum = sum + n
        skynet.ret(skynet.pack(sum))
    end)
end)
