-- Asks for a new token now: each value of the annotation is honoured once.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["keycard.cloud/refresh-requested-at"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
