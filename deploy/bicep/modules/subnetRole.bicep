// The cluster's right to put its nodes and load balancers into its subnet.
param networkName string
param principalId string

var roles = loadJsonContent('../roles.json')

resource network 'Microsoft.Network/virtualNetworks@2024-01-01' existing = {
  name: networkName
}

resource subnet 'Microsoft.Network/virtualNetworks/subnets@2024-01-01' existing = {
  parent: network
  name: 'cluster'
}

resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(subnet.id, principalId, 'Network Contributor')
  scope: subnet
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Network Contributor'])
  }
}
