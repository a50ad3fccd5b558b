-- Health of a KeycardResource. Only the base and table libraries are open.
if obj.spec ~= nil and obj.spec.suspend == true then
  return {status = "Suspended", message = "spec.suspend is true: the zone is not touched"}
end
if obj.status == nil or obj.status.conditions == nil then
  return {status = "Progressing", message = "waiting for the operator"}
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not seen this spec yet"}
end
local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local ready, stalled, registered = conditions.Ready, conditions.Stalled, conditions.ResourceRegistered
if stalled ~= nil and stalled.status == "True" then
  return {status = "Degraded", message = stalled.reason .. ": " .. (ready or stalled).message}
end
if ready == nil then
  return {status = "Progressing", message = "waiting for the operator"}
end
if ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
-- What was registered for this spec and is not ready any more has lost something that it needs.
local lost = registered ~= nil and registered.status == "True"
if ready.status == "Unknown" or (not lost and conditions.Reconciling ~= nil and conditions.Reconciling.status == "True") then
  return {status = "Progressing", message = ready.message}
end
return {status = "Degraded", message = ready.reason .. ": " .. ready.message}
